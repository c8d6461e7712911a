"""A connection to the site's database that may write. For a process that has the rights of the site's user."""
import os
import sqlite3

from eden_site import Failure

LOCK_WAIT = 60  # seconds


def connect(site, name=None):
    """A connection of DB-API, in a transaction from its first statement on; `name` is another database of the same server."""
    config = site.config
    if config.kind == "sqlite":
        return connect_sqlite(os.path.join(site.databases, "storage.db"))
    if config.kind != "postgresql":
        raise Failure("{}: the database is {}, and fleet upgrades PostgreSQL and SQLite".format(site.config_path, config.kind),
                      "grep database.db_type {}".format(site.config_path))
    try:
        import psycopg2
    except ImportError:
        raise Failure("the Python of the site cannot import psycopg2: it cannot reach its database", "apt-get install python3-psycopg2")
    name = name or config.name
    try:
        return psycopg2.connect(host=config.host, port=config.port, dbname=name, user=config.user, password=config.password,
                                options="-c lock_timeout={}s".format(LOCK_WAIT), connect_timeout=10, application_name="fleet")
    except psycopg2.Error as error:
        raise Failure("the database {} at {}:{} does not let {} in: {}".format(
            name, config.host, config.port, config.user, site.mask(str(error).strip().splitlines()[0])),
            "psql -h {} -p {} -U {} {}".format(config.host, config.port, config.user, name))


def connect_sqlite(path):
    if not os.path.exists(path):
        raise Failure("there is no database {}".format(path), "ls -l {}".format(os.path.dirname(path)))
    # Python would commit before a statement that changes the schema: transactions begin by hand.
    connection = sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None)
    connection.execute("begin immediate")
    return connection


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
