# Settings, and the libraries: these are checked once for each number of the update check.
import importlib
import os

from gluon import current
from s3cfg import S3Config

settings = S3Config()
current.deployment_settings = deployment_settings = settings

UPDATE_CHECK = 1
if globals().get("CURRENT_UPDATE_CHECK_ID") != UPDATE_CHECK:
    with open(os.path.join(request.folder, "requirements.txt")) as requirements:
        for line in requirements:
            if line.strip() and not line.startswith("#"):
                importlib.import_module(line.strip())
    with open(os.path.join(request.folder, "models", "0000_update_check.py"), "w") as check:
        check.write("CURRENT_UPDATE_CHECK_ID = %d\n" % UPDATE_CHECK)
