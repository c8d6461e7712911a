def index():
    return {"title": "Test application"}


def about():
    with open(request.folder + "/VERSION") as version:
        return version.read()


def person():
    return "%d persons" % db(s3db.pr_person).count()
