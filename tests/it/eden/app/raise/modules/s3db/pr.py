from gluon import Field, current
from s3 import S3Model

__all__ = ("PersonModel", "AddressModel")


class PersonModel(S3Model):
    def model(self):
        current.db.define_table("pr_person",
                                Field("first_name", length=64),
                                Field("last_name", length=64),
                                Field("initials", length=16),
                                Field("date_of_birth", "date"),
                                Field("suffix", length=16),
                                Field("comments", "text"))
        raise ValueError("this model raises after its table has changed")


class AddressModel(S3Model):
    def model(self):
        current.db.define_table("pr_address",
                                Field("person_id", "reference pr_person"),
                                Field("place", length=128),
                                Field("postcode", length=16))
