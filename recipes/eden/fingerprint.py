"""What the site is, in lines `PART SHA256 DETAIL`: two that are the same text are the same site, for all that a deployment changes.

The rows of a table are hashed one by one, and summed up: their order, and that of a restore, does not count. The workers of the scheduler are
processes, whose rows change as long as they live: they are left out.
"""
import hashlib
import os
import sqlite3

import archive
import cron
import database
from connection import connect_to_read, query, quoted
from eden_site import git
from failure import Failure
from files import sha256

HASHED_LIMIT = 1024  # MiB of the database, above which rows are only counted
PROCESSES = {"scheduler_worker"}


def run(site, arguments):
    if arguments:
        raise Failure("fingerprint takes nothing")
    for part, content, detail in parts(site):
        print(part, hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest(), detail)


def parts(site):
    revision, changes = git(site.folder, "rev-parse", "HEAD").strip(), git(site.folder, "status", "--porcelain", "--untracked-files=all")
    modules = git(site.folder, "submodule", "status", "--recursive")
    # Names alone would not say that a file, which was changed before, was changed again.
    content = git(site.folder, "diff", "--no-ext-diff", "--binary", "--submodule=diff", "HEAD")
    for path in git(site.folder, "ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]:
        content += sha256(site.path(path))
    yield "code", revision + changes + modules + content, "{}, {} changed files, {} submodules".format(
        revision, len(changes.splitlines()), len(modules.splitlines()))
    schema = database.schema_text(site)
    yield "schema", schema, "{} lines".format(len(schema.splitlines()))
    for table, count, rows in site.as_owner(data, site):
        yield "data", "{} {}".format(count, rows), "{} {} rows{}".format(table, count, "" if rows else ", counted only")
    found = site.as_owner(files, site.databases)
    yield "databases", "\n".join(found), "{} files".format(len(found))
    for path, content in site.as_owner(archive.configuration, site.folder).items():
        found = None if content is None else os.stat(site.path(path))
        rights = "{:o} {} {}".format(found.st_mode, found.st_uid, found.st_gid) if found else ""
        yield "config", repr(content) + rights, path
    for place in cron.tables(site) + cron.crontabs(site):
        content = place.read() if place.is_readable() else b"cannot be read"
        if content is not None:
            yield "cron", content.decode("latin-1"), place.title


def files(folder):
    """A line for each file of databases/ that is not SQLite's: that is data."""
    found = []
    for place, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder)
            if os.path.isfile(path) and not relative.startswith("storage.db"):
                found.append("{} {:o} {}".format(relative, os.stat(path).st_mode, sha256(path)))
    return sorted(found)


def data(site):
    """[[table, number of rows, sum of their hashes or None]]"""
    connection = connect_to_read(site)
    try:
        is_sqlite = isinstance(connection, sqlite3.Connection)
        return [[table] + (sqlite_rows if is_sqlite else postgresql_rows)(connection, name) for table, name in names_of_tables(connection, is_sqlite)]
    finally:
        connection.close()


def names_of_tables(connection, is_sqlite):
    """[(name, the same quoted)]"""
    if is_sqlite:
        rows = query(connection, "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by name")
        return [(name, quoted(name)) for name, in rows if name not in PROCESSES]
    rows = query(connection, "select c.relname, c.oid::regclass::text from pg_class c where relkind in ('r', 'p')"
                 " and relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema') and not relispartition order by 2")
    return [(table, name) for table, name in rows if table not in PROCESSES]


def postgresql_rows(connection, name):
    if query(connection, "select pg_database_size(current_database()) > %s", HASHED_LIMIT << 20)[0][0]:
        return [query(connection, "select count(*) from {}".format(name))[0][0], None]
    return list(query(connection, "select count(*), coalesce(sum(('x' || left(md5(t::text), 16))::bit(64)::bigint::numeric), 0)::text"
                      " from {} as t".format(name))[0])


def sqlite_rows(connection, name):
    pages, size = query(connection, "pragma page_count")[0][0], query(connection, "pragma page_size")[0][0]
    if pages * size > HASHED_LIMIT << 20:
        return [query(connection, "select count(*) from {}".format(name))[0][0], None]
    count, rows = 0, 0
    for row in connection.execute("select * from {}".format(name)):
        count += 1
        rows += int.from_bytes(hashlib.sha256(repr(row).encode("utf-8", "surrogateescape")).digest()[:8], "big")
    return [count, str(rows)]
