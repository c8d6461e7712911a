"""The site's models/000_config.py: read without web2py, and one setting of it changed.

Reading executes the file against settings that accept everything. It belongs to the site's user, so `evaluate` is only ever called in a
process that has that user's rights (see eden_site.Site.config). What goes wrong is reported by its kind and line: the text of an error could
hold a password, as in "name 's3cret' is not defined".
"""
import ast
import hashlib
import importlib.machinery
import os
import re
import signal
import sys
import types
from urllib.parse import quote

KINDS = {"sqlite": "sqlite", "postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql"}
PORTS = {"postgres": 5432, "postgresql": 5432, "mysql": 3306}
SECRET = re.compile(r"passw|secret|(^|_)(key|token|login|api)(_|$)", re.IGNORECASE)
# Packages of web2py and Eden: they cannot be imported without an application, and a configuration only takes names from them.
STUBBED = {"applications", "core", "gluon", "s3", "s3cfg", "s3compat", "s3db", "templates"}
TIME_LIMIT = 20  # seconds that the file may compute


class Anything:
    """Stands for web2py's objects: every attribute, item and call exists. Attributes that were set keep their values."""

    def __init__(self, name="", assigned=None):
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_assigned", {} if assigned is None else assigned)

    def _path(self, key):
        return self._name + "." + key if self._name else key

    def __getattr__(self, key):
        if key.startswith("__"):
            raise AttributeError(key)
        path = self._path(key)
        return self._assigned[path] if path in self._assigned else Anything(path, self._assigned)

    def __setattr__(self, key, value):
        self._assigned[self._path(key)] = value

    def __call__(self, *_arguments, **_named):
        return Anything()

    def __getitem__(self, _key):
        return Anything()

    def __setitem__(self, key, value):
        pass

    def __delitem__(self, key):
        pass

    def __add__(self, _other):
        return self

    __radd__ = __mod__ = __add__

    def __iter__(self):
        return iter(())

    def __bool__(self):
        return False


class StubImporter:
    """Imports the packages in STUBBED as modules that have every name."""

    @classmethod
    def find_spec(cls, name, _path=None, _target=None):
        return importlib.machinery.ModuleSpec(name, cls, is_package=True) if name.split(".")[0] in STUBBED else None

    @staticmethod
    def create_module(spec):
        class Stub(types.ModuleType):
            def __getattr__(self, key):
                if key.startswith("__"):
                    raise AttributeError(key)
                return Anything()

        return Stub(spec.name)

    @staticmethod
    def exec_module(module):
        pass


def be_silent():
    """For a process that runs the site's code: what that prints could hold a secret."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 2)


def evaluate(source, path):
    """What the file sets, as JSON can carry it: {"values": {dotted name: plain value}, "error": None or [kind, line]}."""
    be_silent()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(TIME_LIMIT)
    sys.meta_path.insert(0, StubImporter)
    settings = Anything()
    names = {name: Anything() for name in ("T", "current", "request", "response", "session", "cache", "auth", "Storage", "URL", "Lazy_T")}
    names.update(settings=settings, deployment_settings=settings, __name__="config", __file__=path)
    try:
        exec(compile(source, path, "exec"), names)
        error = None
    except BaseException as raised:  # the file may raise anything, SystemExit included
        error = [type(raised).__name__, failing_line(raised, path)]
    plain = (str, int, float, bool, type(None))
    values = {name: value if isinstance(value, plain) else None for name, value in settings._assigned.items()}
    return {"values": values, "error": error}


def out_of_time(_number, _frame):
    raise TimeoutError


def failing_line(raised, path):
    """The line of the file where the exception passed last; of a syntax error, where that is."""
    if isinstance(raised, SyntaxError):
        return raised.lineno
    line, trace = 1, raised.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


class Config:
    """What models/000_config.py says. `kind` is postgresql, sqlite, mysql, or what stands there where that is unknown."""

    def __init__(self, values):
        self.values = values
        db_type = str(self.get("database.db_type", "sqlite")).lower()
        self.kind = KINDS.get(db_type, db_type)
        self.host = str(self.get("database.host", "localhost"))
        self.port = str(self.get("database.port", PORTS.get(db_type, "")))
        self.name = str(self.get("database.database", "sahana"))
        self.user = str(self.get("database.username", "sahana"))
        self.password = str(self.get("database.password", "password"))
        self.migrate = bool(self.get("base.migrate", True))
        self.public_url = self.get("base.public_url", "")
        self.uri = "sqlite://storage.db"
        if self.kind != "sqlite":
            self.uri = "{}://{}:{}@{}:{}/{}".format(db_type, self.user, self.password, self.host, self.port, self.name)
        # web2py names its .table files by the connection: another password or port, and it finds none of them.
        self.prefix = hashlib.md5(self.uri.encode()).hexdigest()

    def get(self, name, default):
        value = self.values.get(name)
        return default if value is None else value

    @property
    def secrets(self):
        """Values that must not be seen in any output, also as an address or Python spells them, the longest first."""
        named = [value for name, value in self.values.items() if isinstance(value, str) and SECRET.search(name.split(".")[-1])]
        if self.kind != "sqlite":
            named.append(self.password)
        spelled = {form for secret in named if len(secret) > 3 for form in (secret, quote(secret, safe=""), repr(secret)[1:-1])}
        return sorted(spelled, key=len, reverse=True)


def statements_of(source, name):
    """Lines (from 1) of the assignments to settings.NAME, and those of settings.import_template(). Comments and strings do not count."""
    assigned, templates = [], []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and any(dotted(target) == name for target in node.targets):
            assigned.append(node.lineno)
        elif isinstance(node, ast.Call) and dotted(node.func) == "import_template":
            templates.append(node.lineno)
    return assigned, templates


def dotted(node):
    """`base.migrate` for the expression `settings.base.migrate`; None for any other kind."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in ("settings", "deployment_settings"):
        return ".".join(reversed(parts))
    return None


def with_setting(source, name, value):
    """The bytes of the file with settings.NAME set to the expression `value`. All other bytes stay as they are.

    Where nothing sets it, a line is added after the template's settings, which would win otherwise.
    """
    lines = source.splitlines(keepends=True)
    assigned, templates = statements_of(source, name)
    pattern = re.compile(rb"(\s*\w+\." + re.escape(name).encode() + rb"\s*=\s*)[^#\r\n]*?(\s*(?:#[^\r\n]*)?[\r\n]*)$")
    for number in assigned:
        lines[number - 1] = pattern.sub(rb"\g<1>" + value.encode() + rb"\g<2>", lines[number - 1], count=1)
    if not assigned:
        spelling = b"deployment_settings" if re.search(rb"^deployment_settings\.", source, re.MULTILINE) else b"settings"
        at = max(templates) if templates else len(lines)
        end = b"\r\n" if b"\r\n" in source else b"\n"
        if at and not lines[at - 1].endswith((b"\n", b"\r")):
            lines[at - 1] += end
        lines.insert(at, spelling + b"." + name.encode() + b" = " + value.encode() + end)
    return b"".join(lines)
