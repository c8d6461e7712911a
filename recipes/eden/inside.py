"""What runs inside web2py: `web2py.py -S APP -R inside.py`, started by eden_site.Site.web2py, which says what to do in EDEN_WORK.

web2py gets no -M: the models run here, in an environment of their own, so that no name of theirs meets one of ours, and so that no error is
lost. (With -M, web2py prints what a script raises and ends with 0.) The result is JSON in the file EDEN_REPORT; an error is
{"failed": [{"model", "where", "error", "missing"}]}. Ends by os._exit: for SystemExit web2py prints a traceback.
"""
import contextlib
import json
import os
import re
import sys
import traceback

from gluon import DAL, current
from gluon.compileapp import compile_controllers, compile_models, compile_views, run_models_in
from gluon.restricted import RestrictedError
from gluon.shell import BaseAdapter, env
from pydal.adapters.base import SQLAdapter

MISSING = {"42P01", "42703"}  # SQLSTATE: no such table, no such column
READ_ONLY = "25006"
# SQLite keeps a value of any type in any column. What web2py cannot read, by the first word of a field's type.
NO_INTEGER = "typeof({0}) IN ('text', 'blob') AND CAST(CAST({0} AS INTEGER) AS TEXT) <> CAST({0} AS TEXT)"
UNFIT = {"integer": NO_INTEGER, "bigint": NO_INTEGER, "reference": NO_INTEGER, "decimal": "typeof({0}) IN ('text', 'blob')",
         "double": "typeof({0}) IN ('text', 'blob') AND ({0} = '' OR {0} GLOB '*[^-+.0-9Ee]*')",
         "date": "typeof({0}) <> 'text' OR date({0}) IS NULL", "datetime": "typeof({0}) <> 'text' OR datetime({0}) IS NULL",
         "time": "typeof({0}) <> 'text' OR time({0}) IS NULL"}


class ModelError(Exception):
    """A model does not load. `model` is the module of s3db in which the error was raised, else the file in models/."""

    def __init__(self, cause, trace, file=None):
        super().__init__(str(cause))
        where = innermost(cause)
        modules = re.findall(r"^modules/s3db/(\w+)", where)
        model = modules[0] if modules else os.path.splitext(os.path.basename(file or where.rsplit(":", 1)[0]))[0]
        self.facts = {"model": model, "where": where, "error": "{}: {}".format(type(cause).__name__, first_line(cause))}
        self.trace = trace


def first_line(error):
    """What the error says, with the application's modules under the names that its code gives them."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0].replace("applications.{}.modules.".format(current.request.application), "")


def innermost(error):
    """FILE:LINE of the application's own code in which the error was raised."""
    folder = os.path.abspath(os.path.join("applications", current.request.application)) + os.sep
    places = [(os.path.abspath(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((os.path.abspath(error.filename), error.lineno))
    own = ["{}:{}".format(path[len(folder):], line) for path, line in places if path.startswith(folder)]
    return own[-1] if own else "?"


def run_models():
    """The environment that the files of models/ have made."""
    environment = env(current.request.application)
    try:
        run_models_in(environment)
    except RestrictedError as error:
        raise ModelError(error.__context__ or error, error.traceback, error.layer)
    except BaseException as error:  # a syntax error, sys.exit, an HTTP redirect: a model may raise anything
        raise ModelError(error, traceback.format_exc())
    return environment


def load_all(environment):
    """Defines every table, also those that models define only when they are asked for."""
    s3db = environment.get("s3db")
    try:
        if s3db is not None:
            s3db.load_all_models()
        define_lazy_tables(environment["db"])
    except BaseException as error:
        raise ModelError(error, traceback.format_exc())


def load_each(environment, failed, unanswered):
    """As load_all, but one module of s3db after the other: what fails in one must not hide the rest."""
    db, s3db = environment["db"], environment.get("s3db")

    def attempt(name, load, *arguments):
        asked = len(unanswered)
        try:
            load(*arguments)
        except BaseException as error:
            db.rollback()
            # Eden locks a model while it loads: another one that needs it would fail by that.
            current.response.pop("s3_model_lock", None)
            failed.append(dict(ModelError(error, "", name).facts, missing=unanswered[asked:]))

    if s3db is not None:
        current.response.s3.load_all_models = True  # Eden says so while it loads them all
        for name in [name for name, module in vars(current.models).items() if type(module).__name__ == "module"]:
            attempt(name, s3db.load, name)
        if not failed:  # tables outside of s3db: of imports, of a template's own models
            attempt("s3db", s3db.load_all_models)
    attempt("models", define_lazy_tables, db)


def define_lazy_tables(db):
    for name in list(db.tables):
        db[name]


@contextlib.contextmanager
def migrate_off():
    """Whatever the configuration says, no table is made or changed."""
    original = DAL.__init__

    def without_migration(self, *arguments, **named):
        original(self, *arguments, **dict(named, migrate=False, migrate_enabled=False))

    DAL.__init__ = without_migration
    try:
        yield
    finally:
        DAL.__init__ = original


def answer_for_missing_tables(unanswered):
    """A model may ask for a table or column that its release brings. The migration makes it first; a preview does not, and answers as the new
    table would: with nothing. What was asked is kept in `unanswered`."""
    original = SQLAdapter.execute

    def execute(adapter, command, *arguments, **named):
        try:
            return original(adapter, command, *arguments, **named)
        except Exception as error:
            if not is_unanswerable(error):
                raise
            adapter.rollback()
            unanswered.append(first_line(error))
            return original(adapter, "SELECT 0;" if re.match(r"SELECT\s+COUNT", command, re.IGNORECASE) else "SELECT NULL WHERE 1 = 0;")

    SQLAdapter.execute = execute


def is_unanswerable(error):
    state = getattr(error, "pgcode", None)
    return state in MISSING or state == READ_ONLY or "no such table" in str(error) or "no such column" in str(error)


def preview():
    """Which tables and columns the models define. The configuration says fake_migrate: their .table files are written, and no statement runs."""
    unanswered, failed, tables = [], [], {}
    answer_for_missing_tables(unanswered)
    try:
        environment = run_models()
        load_each(environment, failed, unanswered)
        tables = {name: definition_of(environment["db"][name]) for name in environment["db"].tables}
    except ModelError as error:
        failed.append(dict(error.facts, missing=unanswered))
    BaseAdapter.close_all_instances("rollback")
    return {"tables": tables, "failed": failed, "unanswered": unanswered}


def definition_of(table):
    """The table's name in the database; {column: does adding it need a value for the rows that are there}; and the defaults of references."""
    name = getattr(table, "_raw_rname", None) or table._tablename
    if name != table._tablename:
        name = name[1:-1] if name.startswith('"') else name.lower()
    stored = [field for field in table if not str(field.type).startswith("virtual")]
    defaults = {field.name: default_of(field) for field in stored if field.notnull}
    return {"stored": name, "columns": {field.name: defaults.get(field.name) == "NULL" for field in stored},
            "defaults": {name.lower(): str(default) for name, default in defaults.items() if str(table[name].type).startswith(("reference", "big-ref"))}}


def default_of(field):
    """As web2py writes it in a statement: NULL also where it is no value of the column's type, or a function gives none."""
    try:
        return "NULL" if field.default is None else field._table._db._adapter.represent(field.default, field.type)
    except Exception:  # a function of the model's; where web2py adds the column, it fails there too
        return "NULL"


def watch_tables(failed):
    """Keeps {table: (error, statement)} of the tables whose migration fails, and is not done later, in `failed`: a model may hide the error."""
    create_table, execute, statements = SQLAdapter.create_table, SQLAdapter.execute, [""]

    def watched_execute(adapter, command, *arguments, **named):
        statements[0] = command
        return execute(adapter, command, *arguments, **named)

    def watched_create_table(adapter, table, *arguments, **named):
        statements[0] = ""
        try:
            result = create_table(adapter, table, *arguments, **named)
        except Exception as error:
            failed[table._tablename] = (error, statements[0])
            raise
        failed.pop(table._tablename, None)
        return result

    SQLAdapter.execute, SQLAdapter.create_table = watched_execute, watched_create_table


def migrate():
    """The migration itself. The models' statements are committed by pydal, table by table; what they insert is committed here."""
    failed = {}
    watch_tables(failed)
    environment = run_models()
    load_all(environment)
    for table, (error, statement) in failed.items():
        hidden = ModelError(error, "".join(traceback.format_exception(type(error), error, error.__traceback__)))
        hidden.facts.update(table=table, statement=statement)
        raise hidden
    BaseAdapter.close_all_instances("commit")
    return {"tables": len(environment["db"].tables)}


def schema_check():
    """Reads a row of every table with all columns that the code knows. On SQLite, counts the values that are not of their column's type."""
    with migrate_off():
        environment = run_models()
        load_all(environment)
    db, unreadable, unfit = environment["db"], {}, {}
    for name in db.tables:
        stored = [field for field in db[name] if not str(field.type).startswith("virtual")]
        try:
            db(db[name]).select(*stored, limitby=(0, 1), orderby_on_limitby=False)
            if db._adapter.dbengine == "sqlite":
                unfit.update(unfit_values(db, db[name], stored))
        except Exception as error:
            db.rollback()
            unreadable[name] = first_line(error)
    BaseAdapter.close_all_instances("rollback")
    return {"tables": len(db.tables), "unreadable": unreadable, "unfit": unfit}


def unfit_values(db, table, fields):
    """{TABLE.COLUMN: [type, how many values are not of it]}"""
    asked = [(field, UNFIT[kind]) for field in fields for kind in [re.match(r"\w*", str(field.type)).group()] if kind in UNFIT]
    if not asked:
        return {}
    sums = ", ".join("total({0} IS NOT NULL AND ({1}))".format(field._rname, unfit.format(field._rname)) for field, unfit in asked)
    counts = db.executesql("SELECT {} FROM {}".format(sums, table._rname))[0]
    return {str(field): [str(field.type), int(count)] for (field, _unfit), count in zip(asked, counts) if count}


def compile_all():
    """Compiles into the folder EDEN_COMPILE, which looks like the application; the first file that cannot be compiled ends it."""
    folder = os.environ["EDEN_COMPILE"]
    for compile_part in (compile_models, compile_controllers, compile_views):
        compile_part(folder)
    return {"files": len(os.listdir(os.path.join(folder, "compiled")))}


WORK = {"preview": preview, "migrate": migrate, "schema-check": schema_check, "compile": compile_all}


def work():
    try:
        return 0, WORK[os.environ["EDEN_WORK"]]()
    except ModelError as error:
        print(error.trace, file=sys.stderr)
        result = {"failed": [dict(error.facts, missing=[])]}
    except BaseException as error:
        traceback.print_exc()
        result = {"failed": [dict(ModelError(error, "").facts, missing=[])]}
    BaseAdapter.close_all_instances("rollback")
    return 1, result


status, report = work()
with os.fdopen(int(os.environ["EDEN_REPORT"]), "w", encoding="utf-8") as file:
    json.dump(report, file)
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)
