# The database, web2py's own tables, and the loader of all others.
import os
import time

from gluon.scheduler import Scheduler
import s3db as s3_models
from s3 import S3Model

migrate = settings.get_base_migrate()
db = DAL(settings.get_database_string(),
         check_reserved=None,
         migrate_enabled=migrate,
         fake_migrate_all=settings.get_base_fake_migrate(),
         lazy_tables=not migrate)
current.db = db

db.define_table("auth_user",
                Field("email", length=254, unique=True),
                Field("password", "password", length=512))


def tick():
    return "tick"


def hold(path):
    """A long job: it ends when somebody makes this file, or removes its folder."""
    while not os.path.exists(path) and os.path.exists(os.path.dirname(path)):
        time.sleep(0.1)


scheduler = Scheduler(db, tasks={"tick": tick, "hold": hold}, migrate=migrate, heartbeat=1)

current.models = s3_models
s3db = S3Model()
current.s3db = s3db
