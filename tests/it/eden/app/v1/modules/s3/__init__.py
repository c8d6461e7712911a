"""The loader of models, with the names and the ways of Eden's own."""
from gluon import current
from gluon.storage import Storage

ALWAYS = ("pr",)


class S3Model(object):
    """A model defines its tables once; a module that is switched off defines none."""

    LOCK = "s3_model_lock"
    LOAD = "s3_model_load"

    def __init__(self, module=None):
        response = current.response
        if "s3" not in response:
            response.s3 = Storage()
        name = self.__class__.__name__
        loaded = response.setdefault(self.LOAD, [])
        if module is None or name in loaded:
            return
        lock = response.setdefault(self.LOCK, [])
        if name in lock:
            raise RuntimeError("circular model reference deadlock in %s" % name)
        lock.append(name)
        if module in ALWAYS or current.deployment_settings.has_module(module):
            response.s3.update(self.model() or {})
        loaded.append(name)
        lock.remove(name)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        db = current.db
        if name not in db:
            self.load(name.split("_", 1)[0])
        if name not in db:
            raise AttributeError("undefined table: %s" % name)
        return db[name]

    @classmethod
    def load(cls, name):
        module = getattr(current.models, name, None)
        for model in getattr(module, "__all__", ()):
            getattr(module, model)(name)

    @classmethod
    def load_all_models(cls):
        for name, module in list(current.models.__dict__.items()):
            if type(module).__name__ == "module":
                cls.load(name)
