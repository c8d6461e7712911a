def index():
    from files import TITLE
    return {"title": TITLE}


def about():
    with open(request.folder + "/VERSION") as version:
        return version.read()


def person():
    return "%d persons" % db(s3db.pr_person).count()
