"""What the demo's recipe calls on a host: migrate, backup FILE, restore FILE, expect STATUS PATH."""

import http.client
import json
import pathlib
import sqlite3
import sys
import time

CODE = pathlib.Path(__file__).resolve().parent
CONFIG = json.loads((CODE.parent / "site.json").read_text())


def migrate():
    """Each migration is one transaction. What a failing one leaves behind is the work of those before it."""
    database = sqlite3.connect(CONFIG["database"], isolation_level=None)
    database.execute("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)")
    (version,) = database.execute("SELECT coalesce(max(version), 0) FROM schema").fetchone()
    for path in sorted((CODE / "migrations").glob("*.sql")):
        number = int(path.name.split("-")[0])
        if number <= version:
            continue
        database.execute("BEGIN IMMEDIATE")
        try:
            for statement in path.read_text().split(";\n"):
                database.execute(statement)
            database.execute("DELETE FROM schema")
            database.execute("INSERT INTO schema VALUES (?)", (number,))
            database.execute("COMMIT")
        except sqlite3.Error as error:
            # To the same stream as what was done before, so that it comes after it.
            print("%s failed: %s" % (path.name, error))
            sys.exit(1)
        print("%s done" % path.name, flush=True)
        # Three notes are migrated in no time. With this file beside the database it is as if there were three million.
        while pathlib.Path(CONFIG["database"] + ".large").exists():
            time.sleep(0.02)
    print("the schema is that of this release")


def copy(source, target):
    """A consistent copy, also of a database that is in use."""
    with sqlite3.connect(pathlib.Path(source).as_uri() + "?mode=ro", uri=True) as origin, sqlite3.connect(target) as copied:
        origin.backup(copied)
        (state,) = copied.execute("PRAGMA integrity_check").fetchone()
    if state != "ok":
        sys.exit("%s: %s" % (target, state))


def expect(status, path):
    port = int((CODE.parent / "run" / "port").read_text())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    connection.request("GET", path)
    answer = connection.getresponse()
    if answer.status != int(status):
        sys.exit("%s answers %d, expected %s: %s" % (path, answer.status, status, answer.read().decode()))


verb, arguments = sys.argv[1], sys.argv[2:]
if verb == "migrate":
    migrate()
elif verb == "backup":
    copy(CONFIG["database"], arguments[0])
elif verb == "restore":
    copy(arguments[0], CONFIG["database"])
elif verb == "expect":
    expect(*arguments)
else:
    sys.exit(__doc__)
