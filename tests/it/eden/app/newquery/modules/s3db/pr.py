from gluon import Field, current
from s3 import S3Model

__all__ = ("PersonModel", "FlagModel", "AddressModel")


class PersonModel(S3Model):
    def model(self):
        current.db.define_table("pr_person",
                                Field("first_name", length=64),
                                Field("last_name", length=64),
                                Field("initials", length=16),
                                Field("date_of_birth", "date"),
                                Field("comments", "text"))


class AddressModel(S3Model):
    def model(self):
        current.db.define_table("pr_address",
                                Field("person_id", "reference pr_person"),
                                Field("place", length=128))


class FlagModel(S3Model):
    def model(self):
        db = current.db
        db.define_table("pr_flag", Field("name", length=64))
        flags = [flag.name for flag in db(db.pr_flag).select()]
        db.define_table("pr_flagged",
                        Field("person_id", "reference pr_person"),
                        Field("flags", default=", ".join(flags)))
