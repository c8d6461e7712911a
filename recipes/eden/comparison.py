"""What a migration would do to the tables: what web2py noted about the database, compared with what the models of the new revision define.

Follows pydal's migrator. PostgreSQL: a column that the models no longer define is dropped, and another type means a new column, filled by an
UPDATE without a cast. SQLite: columns are only added; what is gone from the models is forgotten. Neither ever drops a table.
"""
import collections
import difflib
import re

Finding = collections.namedtuple("Finding", "kind name text values")
# What ends the type in a column's definition.
CONSTRAINT = re.compile(r"\s+(?:NOT NULL|NULL|UNIQUE|CHECK|DEFAULT|REFERENCES|PRIMARY)\b")


class Comparison:
    """`noted_before` and `noted_after`: {table: {column: ...}} of the .table files. `before` and `after`: {table: its definition} as
    inside.py takes it from the models, or None for `before` where these do not load. `whole`: all models of the new revision have loaded.
    `is_named` says whether the new code names a table."""

    def __init__(self, reader, noted_before, noted_after, before, after, whole, is_named):
        self.reader, self.whole, self.is_named = reader, whole, is_named
        self.before, self.after = before, {table: lowered(model["columns"]) for table, model in after.items()}
        self.renamed = {table for table in after if before and table in before and before[table]["stored"] != after[table]["stored"]}
        self.defaults = {table: model["defaults"] for table, model in after.items()}
        self.stored_after = {table: model["stored"] for table, model in after.items()}
        self.kept = {table: lowered(columns) for table, columns in noted_after.items()}
        self.old = {table: self.defined(table, columns, before) for table, columns in noted_before.items()}
        self.new = {table: self.defined(table, noted_after.get(table, {}), after) for table in after}
        self.there = reader.columns()
        self.findings, self.skipped = [], []

    @staticmethod
    def defined(table, columns, models):
        """The noted columns without those that SQLite's files never lose, though the models have lost them."""
        fields = lowered(models[table]["columns"]) if models and table in models else None
        return {name: noted for name, noted in lowered(columns).items() if fields is None or name in fields}

    def find(self, kind, name, text, values=None):
        self.findings.append(Finding(kind, name, text, values))

    def run(self):
        for table in sorted(set(self.old) | set(self.new)):
            if table not in self.old:
                if self.new[table]:  # else it is one that web2py never migrates
                    self.table_comes(table)
            elif table in self.new:
                self.table_stays(table)
            elif self.before is None or table in self.before:
                self.table_goes(table)
        return self.findings

    def table_comes(self, table):
        if table in self.there:
            self.find("block", table, "the migration creates this table, but the database has it already and databases/ has no file of it: it would fail",
                      self.reader.count(table))
        else:
            self.find("notice", table, "a new table of {} columns".format(len(self.new[table])))

    def table_goes(self, table):
        if not self.whole or self.before is None:
            self.skipped.append(table)
            return
        rows = self.reader.count(table) if table in self.there else 0
        if rows:
            why = ", though the code names it (is its module switched off?)" if self.is_named(table) else self.renamed_table(table)
            self.find("block", table, "the new models do not define this table{}: its {} rows stay in the database, and no page shows them"
                      .format(why, rows), rows)
        else:
            self.find("notice", table, "the new models do not define this empty table; it stays in the database")

    def renamed_table(self, table):
        """A table that comes and has most of the columns."""
        columns = set(self.old[table])
        alike = [name for name in self.new if name not in self.old and len(columns & set(self.new[name])) > len(columns) / 2]
        return ", probably renamed to " + closest(table, alike) if alike else ""

    def table_stays(self, table):
        old, new = self.old[table], self.new[table]
        if table not in self.there:
            self.find("block" if old != new else "warning", table, "databases/ says that the database has this table, and it has not: "
                      "a migration of it fails")
            return
        if table in self.renamed:
            rows = self.reader.count(table)
            self.find("block", table, "the new models call this table {} in the database, and the migration does not rename it: pages do not find "
                      "its {} rows, or fail".format(self.stored_after[table], rows), rows)
        come = [column for column in new if column not in old]
        for column in old:
            if column not in new:
                self.column_goes(table, column, [name for name in come if new[name]["type"] == old[column]["type"]])
            elif self.reader.drops and self.stored(table, column, self.new) != self.stored(table, column) \
                    and not self.reader.has(table, self.stored(table, column, self.new)):
                self.find("block", table + "." + column, "the new models call this column {} in the database, and the migration does not rename it: its "
                          "values are lost, or pages that read it fail".format(self.stored(table, column, self.new)),
                          self.reader.values(table, self.stored(table, column))[0])
            elif old[column]["sql"] != new[column]["sql"]:
                self.column_changes(table, column)
        for column in come:
            self.column_comes(table, column)
        for column in self.after[table]:
            if column not in old and column not in new and column not in self.there.get(table, (column,)):
                self.find("block", table + "." + column, "the new models read this column, and the migration does not make it (is it off for this "
                          "table?): pages that read it fail")

    def column_goes(self, table, column, alike):
        name = table + "." + column
        if column not in self.there.get(table, {}):
            self.find("warning", name, "the new models do not define this column, and the database does not have it: databases/ says that it had")
            return
        values, distinct = self.reader.values(table, self.stored(table, column))
        renamed = ", probably renamed to " + closest(column, alike) if alike else ""
        if not values:
            self.find("notice", name, "a column without values goes" + renamed)
        elif self.reader.drops and column not in self.kept[table]:
            self.find("block", name, "the migration drops this column{}: {} values are lost, {} of them distinct".format(renamed, values, distinct), values)
        else:
            self.find("block", name, "the new models do not define this column{}: its {} values, {} of them distinct, stay in the database, and no page "
                      "shows them".format(renamed, values, distinct), values)

    def column_comes(self, table, column):
        name = table + "." + column
        if column in self.there.get(table, {}):
            self.find("block", name, "the migration adds this column, but the database has it already: it would fail",
                      self.reader.values(table, self.stored(table, column, self.new))[0])
            return
        sql, rows = self.new[table][column]["sql"].strip(), self.reader.count(table)
        if self.after[table][column] and rows:
            self.find("block", name, "the migration adds this column as NOT NULL without a default to a table with rows: it would fail", rows)
        elif " REFERENCES " in sql and " NOT NULL" in sql and rows and not self.reader.drops:
            self.find("block", name, "SQLite cannot add a reference that has a default to a table with rows: the migration would fail", rows)
        elif " REFERENCES " in sql and " NOT NULL" in sql and rows and not self.reader.is_row(sql, self.defaults[table][column]):
            self.find("block", name, "the default {} of this NOT NULL reference names no row: the migration would fail"
                      .format(self.defaults[table][column]), rows)
        elif " UNIQUE" in sql and not self.reader.drops:
            self.find("block", name, "SQLite cannot add a column that is UNIQUE: the migration would fail", rows)
        elif " UNIQUE" in sql and " NOT NULL" in sql and rows > 1:
            self.find("block", name, "every row gets the same default in this column, which is UNIQUE: the migration would fail", rows)
        else:
            self.find("notice", name, "a new column, " + sql)

    def column_changes(self, table, column):
        old, new = self.old[table][column], self.new[table][column]
        stored = self.stored(table, column)
        values, distinct = self.reader.values(table, stored)
        change = "the definition changes from {} to {}".format(old["sql"].strip(), new["sql"].strip())
        if new["type"].startswith(("reference", "double", "id")):
            if type_of(old["sql"]) != type_of(new["sql"]):
                self.find("warning", table + "." + column, change + "; web2py never makes this change: the column keeps its type, and queries may fail",
                          values)
            return
        harm = self.harm_of_change(table, column, values, distinct)
        if harm:
            self.find("block", table + "." + column, change + "; " + harm, values)
        else:
            effect = "its values are converted" if self.reader.drops else "SQLite keeps its values as they are"
            self.find("warning", table + "." + column, "{}; {}".format(change, effect), values)

    def harm_of_change(self, table, column, values, distinct):
        """Why the database will not make the change, or what it costs, or nothing."""
        old, new, stored = self.there.get(table, {}).get(column), self.new[table][column]["sql"], self.stored(table, column)
        if not self.reader.drops:
            unreadable = self.reader.unreadable(table, stored, type_of(new))
            return "SQLite keeps its values as they are, and {} of them are no integers: pages that read them fail".format(unreadable) if unreadable else ""
        if old is None:
            return "the database does not have this column: the migration would fail"
        if self.reader.converts(old, type_of(new)) is False:
            return "the database does not convert {} to {} by itself: the migration would fail, also without values".format(old, type_of(new))
        length = re.match(r"\s*(?:VAR)?CHAR\((\d+)\)", new)
        too_long = self.reader.longer(table, stored, int(length.group(1))) if length else 0
        if too_long:
            return "{} values are longer than {}: the migration would fail".format(too_long, length.group(1))
        changed, error = self.reader.trial(table, stored, full_type_of(self.old[table][column]["sql"]), full_type_of(new))
        if error:
            return "the database cannot convert all of the values: the migration would fail with: " + error
        if changed:
            return "{} values are cut or rounded".format(changed)
        rows = self.reader.count(table)
        if self.after[table].get(column) and rows:
            return "NOT NULL without a default, and the table has rows: the migration would fail"
        if " NOT NULL" in new and values < rows:
            return "{} rows have no value, and a default does not fill them: the migration would fail".format(rows - values)
        if " UNIQUE" in new and distinct < values:
            return "{} values are there more than once: the migration would fail".format(values - distinct)
        return ""

    def stored(self, table, column, noted=None):
        """The column's name in the database."""
        return (noted or self.old)[table][column].get("raw_rname") or column


def lowered(columns):
    return {name.lower(): value for name, value in columns.items()}


def type_of(definition):
    """`VARCHAR` of `VARCHAR(16) NOT NULL`"""
    return full_type_of(definition).split("(")[0].strip()


def full_type_of(definition):
    """`VARCHAR(16)` of `VARCHAR(16) NOT NULL`"""
    return CONSTRAINT.split(definition.strip())[0].strip()


def closest(name, candidates):
    """The candidates, those with the most similar name first."""
    ordered = sorted(candidates, key=lambda other: -difflib.SequenceMatcher(None, name, other).ratio())
    return " or ".join(ordered[:3])
