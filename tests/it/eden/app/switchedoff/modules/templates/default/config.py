from gluon.storage import Storage


def config(settings):
    settings.base.system_name = "Test application"
    settings.modules["pr"] = Storage(name_nice="Persons")
