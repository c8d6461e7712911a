def person():
    first = db(s3db.pr_person).select(limitby=(0, 1)).first()
    return "first person: %s" % (first and first.first_name)
