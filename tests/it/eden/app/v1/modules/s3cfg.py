"""The settings that models/000_config.py fills, with their defaults."""
from gluon.storage import Storage

PORTS = {"postgres": "5432"}


class S3Config(Storage):
    def __init__(self):
        super(S3Config, self).__init__()
        self.base = Storage()
        self.database = Storage()
        self.auth = Storage()
        self.mail = Storage()
        self.frontpage = Storage()
        self.ui = Storage()
        self.modules = Storage()

    def import_template(self):
        from templates.default import config
        config.config(self)

    def get_database_string(self):
        kind = self.database.get("db_type", "sqlite")
        if kind == "sqlite":
            return "sqlite://storage.db"
        return "%s://%s:%s@%s:%s/%s" % (kind,
                                        self.database.get("username", "sahana"),
                                        self.database.get("password", "password"),
                                        self.database.get("host", "localhost"),
                                        self.database.get("port") or PORTS[kind],
                                        self.database.get("database", "sahana"))

    def get_base_migrate(self):
        return self.base.get("migrate", True)

    def get_base_fake_migrate(self):
        return self.base.get("fake_migrate", False)

    def get_base_prepopulate(self):
        return self.base.get("prepopulate", 0)

    def get_frontpage_rss(self):
        return self.frontpage.get("rss", [])

    def get_ui_confirm(self):
        return self.ui.get("confirm", True)

    def has_module(self, name):
        return name in self.modules
