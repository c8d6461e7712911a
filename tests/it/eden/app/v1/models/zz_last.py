# The first run fills an empty database.
prepopulate = settings.get_base_prepopulate()
if prepopulate and db(db.auth_user).isempty():
    db.auth_user.insert(email="admin@example.org", password="none")
    for number in range(prepopulate):
        person = s3db.pr_person.insert(first_name="Given%d" % number, last_name="Family%d" % (number % 50), initials="G%d" % (number % 9))
        s3db.asset_asset.insert(number="A%d" % number, person_id=person, price="n/a" if number % 10 == 0 else str(number))
    db.commit()
