"""Connections to the site's database. For a process that has the rights of the site's user."""
import functools
import os
import sqlite3

from failure import Failure

LOCK_WAIT = 60  # seconds
# A question never waits long for somebody else's lock.
READ_ONLY = {"PGOPTIONS": "-c default_transaction_read_only=on -c lock_timeout=10s"}


def connect(site, name=None):
    """A connection of DB-API that may write, in a transaction from its first statement on; `name` is another database of the same server."""
    if site.is_postgresql:
        return connect_postgresql(site, name or site.config.name, "-c lock_timeout={}s".format(LOCK_WAIT))
    connection = connect_sqlite(os.path.join(site.databases, "storage.db"), "rw")
    connection.execute("begin immediate")
    return connection


def connect_to_read(site, sqlite_file=None):
    """A connection that cannot write; of SQLite, `sqlite_file` may be a copy."""
    if not site.is_postgresql:
        return connect_sqlite(sqlite_file or os.path.join(site.databases, "storage.db"), "ro")
    connection = connect_postgresql(site, site.config.name, READ_ONLY["PGOPTIONS"])
    connection.autocommit = True
    # A connection pooler between may drop the option without a word.
    if query(connection, "show transaction_read_only") != [("on",)]:
        raise Failure("the database {} does not keep a session read-only: is a connection pooler between? A preview would not be safe"
                      .format(site.config.name), "set settings.database.port to PostgreSQL's own port")
    return connection


def require_database(site):
    """Fails unless the database can be read, and keeps a session read-only. (web2py would try five times, and print a traceback.)"""
    site.as_owner(ask, site)


def ask(site):
    query(connect_to_read(site), "select 1")


def connect_sqlite(path, mode):
    if not os.path.exists(path):
        raise Failure("there is no database {}".format(path), "ls -l {}".format(os.path.dirname(path)))
    address = "file:{}?mode={}".format(path.replace("%", "%25").replace("?", "%3f").replace("#", "%23"), mode)
    # Python would commit before a statement that changes the schema: transactions begin by hand.
    connection = sqlite3.connect(address, uri=True, timeout=LOCK_WAIT, isolation_level=None)
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="surrogateescape")  # what was written need not be UTF-8
    return connection


def connect_postgresql(site, name, options):
    config = site.config
    try:
        import psycopg2
    except ImportError:
        raise Failure("the Python of the site cannot import psycopg2: it cannot reach its database", "apt-get install python3-psycopg2")
    try:
        return psycopg2.connect(host=config.host, port=config.port, dbname=name, user=config.user, password=config.password,
                                options=options, connect_timeout=10, application_name="fleet")
    except psycopg2.Error as error:
        raise Failure("the database {} at {}:{} cannot be opened as {}: {}".format(
            name, config.host, config.port, config.user, site.mask(str(error).strip().splitlines()[0])),
            "psql -h {} -p {} -U {} {}".format(config.host, config.port, config.user, name))


def query(connection, statement, *arguments):
    """The rows of a statement with `%s` for each argument, on either database; [] for a statement that has none."""
    if isinstance(connection, sqlite3.Connection):
        statement = statement.replace("%s", "?")
    cursor = connection.cursor()
    # Without arguments, psycopg2 leaves every % of the statement alone.
    cursor.execute(statement, *([arguments] if arguments else []))
    return cursor.fetchall() if cursor.description else []


def quoted(name):
    return '"{}"'.format(name.replace('"', '""'))


def columns_of_tables(connection):
    """{table: {column: its type in the database}} of the tables that a query finds without a schema."""
    found = {}
    if isinstance(connection, sqlite3.Connection):
        for table, in query(connection, "select name from sqlite_master where type = 'table'"):
            found[table] = {row[1]: row[2].lower() for row in query(connection, "pragma table_info({})".format(quoted(table)))}
        return found
    for table, column, kind in query(
            connection, "select c.relname, a.attname, t.typname from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
            " and not a.attisdropped left join pg_type t on t.oid = a.atttypid where c.relkind in ('r', 'p') and pg_table_is_visible(c.oid)"
            " and c.relnamespace::regnamespace::text <> 'pg_catalog'"):
        found.setdefault(table, {}).update({column: kind} if column else {})
    return found
