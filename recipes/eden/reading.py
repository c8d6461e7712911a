"""A read-only connection to the site's database, and questions to it. For a process that has the rights of the site's user."""
import os
import sqlite3

from eden_site import Failure

LOCK_WAIT = "10s"  # a question never waits longer for somebody else's lock
READ_ONLY = {"PGOPTIONS": "-c default_transaction_read_only=on -c lock_timeout=" + LOCK_WAIT}


def connect(site, sqlite_file=None):
    """A Reader of the database that the configuration names; of SQLite, `sqlite_file` may be a copy."""
    config = site.config
    if config.kind == "sqlite":
        path = sqlite_file or os.path.join(site.databases, "storage.db")
        return SqliteReader(sqlite3.connect("file:{}?mode=ro".format(path.replace("?", "%3f").replace("#", "%23")), uri=True))
    if config.kind != "postgresql":
        raise Failure("{}: the database is {}, and fleet upgrades PostgreSQL and SQLite".format(site.config_path, config.kind),
                      "grep database.db_type {}".format(site.config_path))
    try:
        import psycopg2
    except ImportError:
        raise Failure("the Python of the site cannot import psycopg2: it cannot reach its database", "apt-get install python3-psycopg2")
    try:
        connection = psycopg2.connect(host=config.host, port=config.port, dbname=config.name, user=config.user, password=config.password,
                                      options=READ_ONLY["PGOPTIONS"], connect_timeout=10)
    except psycopg2.Error as error:
        raise Failure("the database {} at {}:{} cannot be opened as {}: {}".format(
            config.name, config.host, config.port, config.user, site.mask(str(error).strip().splitlines()[0])),
            "psql -h {} -p {} -U {} {}".format(config.host, config.port, config.user, config.name))
    connection.autocommit = True
    reader = PostgresReader(connection)
    # A connection pooler between may drop the option without a word.
    if reader.one("SHOW transaction_read_only") != "on":
        raise Failure("the database {} does not keep a session read-only: is a connection pooler between? A preview would not be safe".format(config.name),
                      "set settings.database.port to PostgreSQL's own port")
    return reader


def require_database(site):
    """Fails unless the database can be read, and keeps a session read-only. (web2py would try five times, and print a traceback.)"""
    site.as_owner(ask, site)


def ask(site):
    connect(site).one("SELECT 1")


def quoted(name):
    return '"{}"'.format(name.replace('"', '""'))


class Reader:
    """`text` is how this database spells the cast of a column to text; `drops` says whether a migration drops columns in it."""

    text = "{}"
    drops = False

    def __init__(self, connection):
        self.connection = connection

    def rows(self, statement, arguments=()):
        cursor = self.connection.cursor()
        cursor.execute(statement, arguments)
        return cursor.fetchall()

    def one(self, statement, arguments=()):
        return self.rows(statement, arguments)[0][0]

    def count(self, table):
        return self.one("SELECT count(*) FROM {}".format(quoted(table)))

    def values(self, table, column):
        """How many values a column has that are not null, and how many of them differ."""
        name = quoted(column)
        return self.rows("SELECT count({}), count(DISTINCT {}) FROM {}".format(name, self.text.format(name), quoted(table)))[0]

    def effect_of_change(self, _table, _column, _kind):
        """What a change of the type, which can be made, means for the values."""
        return "; its values are converted"


class SqliteReader(Reader):
    def columns(self):
        """{table: {column: its type in the database}}"""
        tables = [name for name, in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: {row[1].lower(): row[2].lower() for row in self.rows("PRAGMA table_info({})".format(quoted(table)))} for table in tables}

    def effect_of_change(self, table, column, kind):
        """SQLite changes nothing, and web2py converts what it reads."""
        if not kind.upper().startswith(("INT", "BIGINT")):
            return "; SQLite keeps its values as they are"
        name = quoted(column)
        wrong = self.one("SELECT count(*) FROM {0} WHERE {1} IS NOT NULL AND CAST(CAST({1} AS INTEGER) AS TEXT) <> CAST({1} AS TEXT)"
                         .format(quoted(table), name))
        return "; SQLite keeps its values as they are" + (", and {} of them are no integers: pages that read them fail".format(wrong) if wrong else "")


class PostgresReader(Reader):
    text = "{}::text"
    drops = True

    def columns(self):
        """{table: {column: its type in the database}}"""
        found = {}
        for table, column, kind in self.rows(
                "SELECT c.relname, a.attname, t.typname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid"
                " WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped"):
            found.setdefault(table, {})[column.lower()] = kind
        return found

    def converts(self, old, new):
        """Does an UPDATE convert a value of the type `old` to the type `new` by itself? To the same type, to text, and by an assignment cast.
        None where the database does not know one of the names as a type."""
        return self.one(
            "SELECT o = n OR n IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) OR EXISTS (SELECT FROM pg_cast WHERE castsource ="
            " CASE WHEN o IN ('varchar'::regtype, 'bpchar'::regtype) THEN 'text'::regtype ELSE o END AND casttarget = n AND castcontext <> 'e')"
            " FROM (SELECT to_regtype(%s) AS o, to_regtype(%s) AS n) AS types WHERE o IS NOT NULL AND n IS NOT NULL UNION ALL SELECT NULL LIMIT 1",
            (old, new))

    def longer(self, table, column, length):
        """How many values of a column are longer than that many characters."""
        return self.one("SELECT count(*) FROM {} WHERE length({}::text) > %s".format(quoted(table), quoted(column)), (length,))
