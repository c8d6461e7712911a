"""The migration, run strictly, and what follows it: the schema check, compiling, and the smoke list.

Invariant of `migrate`: models/000_config.py is, byte for byte, what it was before, however the migration ends. What was killed without a
chance to clean up is put right by `migrate-off`, or the next `migrate`, from the copy that it left in the state folder.
"""
import os
import re
import shutil
import sys

import fixes
import smoke
from config import with_setting
from failure import Failure, counted
from files import keep_in, read_if_there, remove_file, remove_tree, write_whole
from connection import READ_ONLY, require_database
from reading import reader

LIMIT = 4000  # characters of web2py's own output that are shown


def run(site, arguments):
    verbs = {"migrate": migrate, "migrate-off": put_config_back, "schema-check": schema_check, "compile": compile_application, "smoke": smoke.smoke}
    return verbs[arguments[0]](site)


def migrate(site):
    put_config_back(site)
    site.require_tables()
    site.tables()
    require_database(site)
    remove_compiled(site)
    promised = fixes.promised(site)
    before = site.as_owner(values_in, site, sorted(promised))
    offset = log_size(site)
    try:
        switch_migrate_on(site)
        result = site.web2py("migrate")
    finally:
        put_config_back(site)
    log = site.as_owner(read_log, site.path("databases", "sql.log"), offset)
    statements = statements_in(log)
    if result.status != 0:
        raise failure_of(site, result, statements)
    site.tables()
    after = site.as_owner(values_in, site, sorted(promised))
    for name in sorted(set(before) - set(after)):
        if before[name]:
            site.finding("warning", name, "fix {} says that it handles this column, and left {} in it; the migration has dropped it: check that they "
                         "are where the fix copied them".format(promised[name], counted(before[name], "value")), before[name])
    print("{}, {}".format(counted(result.report["tables"], "table"), counted(len(statements), "statement")))
    for statement, _succeeded in statements:
        print("  " + site.mask(statement))


def values_in(site, names):
    """{TABLE.COLUMN: how many values it has} of those columns that are in the database."""
    if not names:
        return {}
    database = reader(site)
    parts = [name.partition(".")[::2] for name in names]
    return {".".join(part): database.values(*part)[0] for part in parts if database.has(*part)}


# The configuration, for as long as the migration takes.

def kept_config(site):
    return os.path.join(site.state, "000_config.py.before-migrate")


def switched_on(source):
    source = with_setting(source, "base.migrate", "True")
    return with_setting(source, "base.fake_migrate", "False") if re.search(rb"^[^#\n]*base\.fake_migrate", source, re.MULTILINE) else source


def switch_migrate_on(site):
    with open(site.config_path, "rb") as file:
        before = file.read()
    keep_in(site.state)
    write_whole(kept_config(site), before, 0o600)
    site.replace(site.config_path, switched_on(before))
    if not site.read_config().migrate:
        raise Failure("settings.base.migrate is still off in {} after fleet has switched it on: it is set in a way that fleet does not understand"
                      .format(site.config_path), "write it there in a line of its own: settings.base.migrate = False")


def put_config_back(site):
    """What this run, or one that was killed, has switched on. What somebody has written since stays."""
    before, now = read_if_there(kept_config(site)), read_if_there(site.config_path)
    if before is None:
        return
    if now in (before, switched_on(before)):
        site.replace(site.config_path, before)  # also where it is the same: that removes what a killed call left beside it
    else:
        site.finding("warning", "config", "somebody changed {} while the migration had it switched on: it stays as it is".format(site.config_path))
    remove_file(kept_config(site))


# What the migration did.

def log_size(site):
    try:
        return os.path.getsize(site.path("databases", "sql.log"))
    except FileNotFoundError:
        return 0


def read_log(path, offset):
    """The part of sql.log that was written since."""
    try:
        with open(path, "rb") as log:
            log.seek(offset)
            return log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def statements_in(log):
    """[(statement, did it succeed)]. On PostgreSQL one `success!` speaks for all statements of a table before it."""
    statements = []
    for block in re.split(r"^timestamp: .*\n", log, flags=re.MULTILINE):
        lines = block.strip().splitlines()
        succeeded = bool(lines) and lines[-1] in ("success!", "faked!")
        text = [line for line in lines if line not in ("success!", "faked!")]
        # A CREATE TABLE is one statement of many lines; what changes a table is one in each line.
        found = ["\n  ".join(text)] if text and text[0].startswith("CREATE") else text
        if succeeded:
            statements = [(statement, True) for statement, _ in statements]
        statements += [(statement, succeeded) for statement in found]
    return statements


def failure_of(site, result, statements):
    """The error of a migration: the reason, the statement that failed, its table and constraint."""
    show(result)
    text = "the migration failed: " + result.reason
    failed = result.report["failed"][0] if result.report else {}
    open_statements = [statement for statement, succeeded in statements if not succeeded]
    # Where a model hides the error, the log may end in the success of another table.
    statement = failed.get("statement") or (open_statements or [""])[-1]
    table = re.search(r"(?:TABLE|UPDATE)\s+\W?(\w+)", statement)
    table = failed.get("table") or table and table.group(1)
    constraint = re.search(r"constraint \W?(\w+)", result.reason)
    text += "\nstatement: " + statement if statement else ""
    text += "\ntable: " + table if table else ""
    text += "\nconstraint: " + constraint.group(1) if constraint and statement else ""
    done = sum(succeeded and done.split() != statement.split() for done, succeeded in statements)
    if done:
        text += "\n{} {} {} committed: the database has half of the new schema".format(
            counted(done, "statement"), "besides it" if failed.get("table") else "before it", "is" if done == 1 else "are")
    return Failure(text, "roll back database and databases/ together, as fleet does when the run is undone")


def show(result):
    print(result.output.strip()[-LIMIT:], file=sys.stderr)


# Compiled code.

def remove_compiled(site):
    """What was compiled from other sources: web2py prefers compiled/, and Python takes a file of the same second and size for unchanged."""
    remove_tree(site.path("compiled"))
    for top in ("controllers", "models", "modules"):
        for folder, names, _files in os.walk(site.path(top)):
            if "__pycache__" in names:
                shutil.rmtree(os.path.join(folder, "__pycache__"))


def compile_application(site):
    """Compiles beside, and swaps when all of it is compiled: visitors never meet half a folder."""
    beside, compiled = site.path(".fleet-compile"), site.path("compiled")
    shutil.rmtree(beside, ignore_errors=True)
    os.makedirs(os.path.join(beside, "compiled"))
    try:
        for part in ("controllers", "models", "views"):
            os.symlink(site.path(part), os.path.join(beside, part))
        site.give_to_owner(beside)
        result = site.web2py("compile", environment={"EDEN_COMPILE": beside})
        if result.status != 0:
            show(result)
            raise Failure("the application cannot be compiled: {}; compiled/ stays as it was".format(result.reason))
        if os.path.exists(compiled):
            os.rename(compiled, os.path.join(beside, "former"))
        os.rename(os.path.join(beside, "compiled"), compiled)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    print("{} files compiled".format(result.report["files"]))


# The schema.

def schema_check(site):
    require_database(site)
    result = site.web2py("schema-check", environment=READ_ONLY)
    if result.status != 0:
        show(result)
        raise Failure("the schema cannot be checked: " + result.reason)
    for name, (kind, count) in sorted(result.report["unfit"].items()):
        # No failure: it may have been so for years.
        site.finding("warning", name, "{} cannot be read as {}: pages that need it fail".format(counted(count, "value"), kind), count)
    unreadable = result.report["unreadable"]
    for table, error in sorted(unreadable.items()):
        print("{}: {}".format(table, site.mask(error)), file=sys.stderr)
    if unreadable:
        raise Failure("{} of {} cannot be read by this code: code and database are of different releases"
                      .format(len(unreadable), counted(result.report["tables"], "table")), "fleet {} status".format(site.name or "SITE"))
    print("{}, all readable".format(counted(result.report["tables"], "table")))
