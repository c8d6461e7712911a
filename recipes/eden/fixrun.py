"""Runs one fix, with the rights of the site's user. A .sql and a .py are one transaction: of one that fails nothing stays.

A .py calls sql(text, *arguments), with `%s` for each argument, which returns the rows; rename_column(table, old, new); and
rename_table(old, new). A rename changes the database and what web2py noted of the table, for web2py takes a column of another name for a
new one, and drops the old one with its values. What has the new name already is left alone.
"""
import os
import pickle
import re
import sqlite3
import stat
import subprocess
import tempfile
import traceback

from connection import columns_of_tables, connect, query, quoted
from eden_site import read_table
from failure import Failure
from files import BESIDE, remove_file, remove_leftover, sync_folder, write_new

ENDS_TRANSACTION = re.compile(r"^\s*(begin|commit|rollback|start\s+transaction)(\s+work|\s+transaction)?\s*;", re.IGNORECASE | re.MULTILINE)


def run(site, name, content):
    """None; or of a fix that failed, and has changed nothing, the reason. A Failure: what it has changed is unknown."""
    if name.endswith(".sh"):
        return run_shell(site, name, content)
    work = Work(site)
    try:
        text = content.decode("utf-8")
        if name.endswith(".sql"):
            work.script(text)
        else:
            names = {"sql": work.sql, "rename_column": work.rename_column, "rename_table": work.rename_table, "__name__": "fix"}
            exec(compile(text, name, "exec"), names)
        work.commit()
    except Failure:
        raise
    except Exception as error:  # a fix may raise anything
        reason = "fix {} failed{}: {}".format(name, line_of(error, name), str(error).strip() or type(error).__name__)
        if not work.is_open("rollback to savepoint fleet"):
            raise Failure(reason + "; before that it ended its own transaction: what it has changed is unknown")
        return reason + "; it was rolled back"
    finally:
        work.connection.close()


def line_of(error, name):
    """` in line N` of a fix in Python."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return " in line {}".format(lines[-1]) if lines else ""


def run_shell(site, name, content):
    config = site.config
    environment = dict(os.environ, DATABASE=config.kind, DATABASE_NAME=config.name)
    if config.kind == "sqlite":
        environment["DATABASE_NAME"] = os.path.join(site.databases, "storage.db")
    else:
        environment.update(PGHOST=config.host, PGPORT=config.port, PGUSER=config.user, PGPASSWORD=config.password, PGDATABASE=config.name)
    # Not as an argument: every user of the host can see that. Not as standard input: what it runs would read it.
    with tempfile.TemporaryFile() as script:
        script.write(content)
        script.flush()
        script.seek(0)
        process = subprocess.Popen(["/bin/sh", "-eu", "/dev/fd/{}".format(script.fileno())], env=environment, cwd=site.folder,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[script.fileno()])
    for line in process.stdout:
        print(site.mask(line.decode("utf-8", "replace")), end="", flush=True)
    if process.wait() != 0:
        raise Failure("fix {} failed with {}, see above; what it has changed is unknown".format(name, process.returncode))


class Work:
    """One transaction in the database, and the notes of web2py that go with it, written when it is committed."""

    def __init__(self, site):
        self.site = site
        self.connection = connect(site)
        self.is_sqlite = isinstance(self.connection, sqlite3.Connection)
        query(self.connection, "savepoint fleet")
        self.noted = {}  # path of a .table file: its columns, or None when it goes

    def script(self, text):
        refuse_end(text)
        if self.is_sqlite:
            # `executescript` commits what is open: so the script itself begins.
            self.connection.rollback()
            self.connection.executescript("begin immediate; savepoint fleet;\n" + text)
        else:
            query(self.connection, text)

    def sql(self, text, *arguments):
        refuse_end(text)
        return query(self.connection, text, *arguments)

    def is_open(self, statement):
        """Can the statement be done to the savepoint, which is gone when the fix has ended the transaction, and perhaps begun another?"""
        try:
            query(self.connection, statement)
            return True
        except Exception:
            return False

    def rename_column(self, table, old, new):
        if has_to_move(columns_of_tables(self.connection).get(table, {}), old, new, "the table {} of the database".format(table)):
            query(self.connection, "alter table {} rename column {} to {}".format(quoted(table), quoted(old), quoted(new)))
        path = self.note_path(table)
        columns = self.noted.get(path) or read_table(path)
        if has_to_move(columns, old, new, path):
            self.noted[path] = {new if name == old else name: renamed(noted, old, new) if name == old else noted for name, noted in columns.items()}

    def rename_table(self, old, new):
        if has_to_move(columns_of_tables(self.connection), old, new, "the database"):
            query(self.connection, "alter table {} rename to {}".format(quoted(old), quoted(new)))
            self.rename_what_belongs(old, new)
        source, target = self.note_path(old), self.note_path(new)
        there = [path for path in (source, target) if self.noted.get(path, os.path.exists(path))]
        if has_to_move(there, source, target, self.site.databases):
            columns = self.noted.get(source) or read_table(source)
            self.noted[target] = {name: dict(noted, type="reference " + new) if noted["type"] == "reference " + old else noted
                                  for name, noted in columns.items()}
            self.noted[source] = None

    def rename_what_belongs(self, old, new):
        """Sequences and indexes of PostgreSQL keep their names, which a new table of the old name would want."""
        if self.is_sqlite:
            return
        found = query(self.connection, "select c.relname, c.relkind from pg_class c where c.relname like %s"
                      " and (c.relkind = 'S' and exists (select from pg_depend d where d.objid = c.oid and d.refobjid = %s::regclass)"
                      " or c.oid in (select indexrelid from pg_index where indrelid = %s::regclass))",
                      old.replace("_", r"\_") + r"\_%", quoted(new), quoted(new))
        for name, kind in found:
            what = "sequence" if kind == "S" else "index"
            query(self.connection, "alter {} {} rename to {}".format(what, quoted(name), quoted(new + name[len(old):])))

    def note_path(self, table):
        return os.path.join(self.site.databases, "{}_{}.table".format(self.site.config.prefix, table))

    def commit(self):
        """What fails, such as a full disk, fails before the database has changed."""
        for path, columns in self.noted.items():
            if columns is not None:
                remove_leftover(path)
                write_new(path + BESIDE, pickle.dumps(columns), stat.S_IMODE(os.stat(self.site.databases).st_mode) & 0o666, None)
        if not self.is_open("release savepoint fleet"):
            raise Failure("the fix ended its own transaction, so it could not have been rolled back: what it has changed is unknown")
        self.connection.commit()
        for path, columns in self.noted.items():
            if columns is None:
                remove_file(path)
            else:
                os.rename(path + BESIDE, path)
        sync_folder(self.site.databases)


def refuse_end(text):
    found = ENDS_TRANSACTION.search(text)
    if found:
        raise ValueError("a fix is one transaction by itself: remove `{}`".format(found.group(0).strip()))


def has_to_move(names, old, new, where):
    """Is only the old name there? Neither, or both, is an error."""
    if old in names and new in names:
        raise ValueError("{} has both {} and {}".format(where, os.path.basename(old), os.path.basename(new)))
    if old not in names and new not in names:
        raise ValueError("{} has neither {} nor {}".format(where, os.path.basename(old), os.path.basename(new)))
    return old in names


def renamed(noted, old, new):
    """What web2py noted of a column, under its new name. Old releases of web2py note no rname."""
    named = dict(noted)
    if "rname" in noted:
        named.update(rname=noted["rname"].replace(old, new), raw_rname=new)
    return named
