"""Questions to the database of the site: what a change of its tables would cost."""
import re

from connection import columns_of_tables, connect_to_read, query, quoted


def reader(site, sqlite_file=None, names=None):
    """A Reader of the database that the configuration names; of SQLite, `sqlite_file` may be a copy. `names`: {table of the models: its name
    in the database}."""
    kind = PostgresReader if site.is_postgresql else SqliteReader
    return kind(connect_to_read(site, sqlite_file), names or {})


class Reader:
    """Tables have the names that the models give them.

    `text` is how this database spells the cast of a column to text; `drops` says whether a migration changes and drops columns
    in it; SQLite's only adds them."""

    text = "{}"
    drops = False
    fold = staticmethod(str.lower)

    def __init__(self, connection, names):
        self.connection = connection
        there = columns_of_tables(connection)
        folded = {self.fold(name): name for name in there}
        self.names = {table: folded.get(self.fold(name)) for table, name in names.items()}
        self.tables = dict(there, **{table: there[name] for table, name in self.names.items() if name})

    def place(self, table):
        """The table's name in the database, for a statement."""
        return quoted(self.names.get(table) or table)

    def columns(self):
        """{table: {column, in lower case: its type in the database}}; of a table of the models that the database has under no name, nothing."""
        return {table: {name.lower(): kind for name, kind in columns.items()} for table, columns in self.tables.items()
                if self.names.get(table, table)}

    def has(self, table, column):
        """Has the table a column of that name, as this database compares names?"""
        return self.fold(column) in map(self.fold, self.tables.get(table, ()))

    def one(self, statement, *arguments):
        return query(self.connection, statement, *arguments)[0][0]

    def count(self, table):
        return self.one("SELECT count(*) FROM {}".format(self.place(table)))

    def values(self, table, column):
        """How many values a column has that are not null, and how many of them differ."""
        name = quoted(column)
        return query(self.connection, "SELECT count({}), count(DISTINCT {}) FROM {}".format(name, self.text.format(name), self.place(table)))[0]


class SqliteReader(Reader):
    def unreadable(self, table, column, kind):
        """SQLite converts nothing when a type changes; web2py converts what it reads. How many of the values can it not?"""
        if not kind.upper().startswith(("INT", "BIGINT")):
            return 0
        return self.one("SELECT count(*) FROM {0} WHERE {1} IS NOT NULL AND CAST(CAST({1} AS INTEGER) AS TEXT) <> CAST({1} AS TEXT)"
                        .format(self.place(table), quoted(column)))


class PostgresReader(Reader):
    text = "{}::text"
    drops = True
    fold = staticmethod(str)

    def converts(self, old, new):
        """Does an UPDATE convert a value of the type `old` to the type `new` by itself? To the same type, to text, and by an assignment cast.
        None where the database does not know one of the names as a type."""
        return self.one(
            "SELECT o = n OR n IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) OR EXISTS (SELECT FROM pg_cast WHERE castsource ="
            " CASE WHEN o IN ('varchar'::regtype, 'bpchar'::regtype) THEN 'text'::regtype ELSE o END AND casttarget = n AND castcontext <> 'e')"
            " FROM (SELECT to_regtype(%s) AS o, to_regtype(%s) AS n) AS types WHERE o IS NOT NULL AND n IS NOT NULL UNION ALL SELECT NULL LIMIT 1",
            old, new)

    def trial(self, table, column, old, new):
        """How many values of a column another type cuts or rounds; and what the database says where one does not fit into it at all."""
        name = quoted(column)
        casts = {"name": name, "table": self.place(table), "old": old, "new": new}
        try:
            self.one("SELECT count({name}::{new}) FROM {table}".format(**casts))
        except Exception as error:
            return 0, str(error).strip().splitlines()[0]
        try:
            return self.one("SELECT count(*) FROM {table} WHERE {name}::{new}::{old}::text <> {name}::text".format(**casts)), ""
        except Exception:
            return 0, ""  # these two types know no way back, such as from a number to a date

    def is_row(self, definition, default):
        """Does the default, as SQL, name a row of the table that the column's definition refers to?"""
        table, column = re.search(r" REFERENCES (.+?) \((.+?)\)", definition).groups()
        try:
            return self.one("SELECT count(*) FROM {} WHERE {} = {}".format(table, column, default)) > 0
        except Exception:
            return False  # the migration has yet to make that table

    def longer(self, table, column, length):
        """How many values of a column are longer than that many characters."""
        return self.one("SELECT count(*) FROM {} WHERE length({}::text) > %s".format(self.place(table), quoted(column)), length)
