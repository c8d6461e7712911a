from gluon import Field, current
from s3 import S3Model

__all__ = ("AssetModel",)


class AssetModel(S3Model):
    def model(self):
        current.s3db.pr_person
        current.db.define_table("asset_asset",
                                Field("number", length=32),
                                Field("assigned_to_id", "reference pr_person"),
                                Field("price", length=16))
