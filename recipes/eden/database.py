"""The verbs of git-site/database.sh for what is one thing to web2py: the database, databases/ with what web2py noted of its tables, and
the configuration, whose connection names these notes.

  check | size | schema | backup DIR | verify DIR | restore DIR RUN | point RUN | back DIR RUN | prune KEEP

PostgreSQL itself is left to database.sh; SQLite's file lies in databases/. A restore verifies all of the backup, loads it beside, and then
swaps, database first; what was there stays as NAME-old-RUN and databases-old-RUN. As in database.sh, a call that was killed is repeated
with the same words: it does all of its work anew. From before the first swap until the end a note says what was there: when that has
changed and the note is still there, a restore was killed, and no other verb takes what it has left for a state of the site.
"""
import hashlib
import json
import os
import re
import subprocess

import archive
from connection import connect, connect_to_read, query
from eden_site import git, read_table
from failure import Failure, counted
from files import keep, keep_in, read_if_there, remove_file, remove_tree, sha256, sync_folder, write_whole

RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}\Z")
MANIFEST, ARCHIVE, UPLOADS = "eden.json", "eden.tar", "uploads.txt"


def run(site, arguments):
    verbs = {"check": (check, 0), "size": (size, 0), "schema": (schema, 0), "backup": (backup, 1), "verify": (verify, 1),
             "restore": (restore, 2), "point": (point, 1), "back": (back, 2), "prune": (prune, 1)}
    verb, *rest = arguments or [""]
    if verb not in verbs or len(rest) != verbs[verb][1]:
        raise Failure("usage: database check | size | schema | backup DIR | verify DIR | restore DIR RUN | point RUN | back DIR RUN | prune KEEP")
    if verb in ("restore", "back", "point") and not RUN_ID.match(rest[-1]):
        raise Failure("{} is no name of a run".format(rest[-1]))
    if verb in ("backup", "verify", "restore", "back"):
        rest[0] = os.path.abspath(rest[0])
        if not os.path.isdir(rest[0]):
            raise Failure("there is no folder {}".format(rest[0]))
        keep_in(rest[0])
    verbs[verb][0](site, *rest)


def check(site):
    refuse_half_restored(site)
    real = os.path.realpath(site.databases)
    for folder in (os.path.dirname(real), site.folder, site.path("models")):
        if not os.access(folder, os.W_OK):
            raise Failure("a restore swaps databases/, and cannot write in {}".format(folder), "ls -ld {}".format(folder))
    if os.path.ismount(real):
        raise Failure("{} is a file system of its own, so a restore cannot swap it".format(real), "umount it, and mount the folder above")
    if site.is_postgresql:
        database_sh(site, "check")
    else:
        site.as_owner(archive.refuse_damaged, os.path.join(real, "storage.db"))
        print("sqlite, {}: {} MiB".format(os.path.join(real, "storage.db"), site.as_owner(archive.size, site.folder)))


def size(site):
    print(int(database_output(site, "size") or 0) + site.as_owner(archive.size, site.folder))


def schema(site):
    refuse_half_restored(site)
    print(schema_text(site))


def schema_text(site):
    """Also what web2py noted of each table: a schema with other notes is another one to it."""
    text = database_output(site, "schema") if site.is_postgresql else site.as_owner(sqlite_schema, site)
    return "\n".join([text] + ["noted {} {}".format(table, site.as_owner(noted, path)) for table, path in site.table_files().items()])


def backup(site, folder):
    refuse_half_restored(site)
    site.require_tables()
    site.tables()
    remove_file(os.path.join(folder, MANIFEST))
    if site.is_postgresql:
        database_sh(site, "backup", folder)
    for name, write in ((ARCHIVE, archive.pack), (UPLOADS, archive.uploads)):
        with open(os.path.join(folder, name), "wb") as file:
            site.as_owner(write, site.folder, file)
    manifest = {
        "run": site.run_id, "site": site.name, "application": site.app, "kind": site.config.kind, "prefix": site.config.prefix,
        "tables": len(site.table_files()), "revision": git(site.folder, "rev-parse", "HEAD").strip(),
        "submodules": git(site.folder, "submodule", "status", "--recursive").splitlines(),
        "sha256": {name: sha256(os.path.join(folder, name)) for name in (ARCHIVE, UPLOADS)}}
    # Last: a backup with a manifest is whole.
    keep(os.path.join(folder, MANIFEST), json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
    print("copied databases/ with {}, and the configuration".format(counted(manifest["tables"], "table")))


def verify(site, folder):
    manifest = read_manifest(folder)
    for name, expected in manifest["sha256"].items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            raise Failure("the backup {} lacks {}".format(folder, name), "ls -l {}".format(folder))
        if sha256(path) != expected:
            raise Failure("the backup {} is damaged: the checksum of {} differs".format(folder, name), "ls -l {}".format(folder))
    if manifest["kind"] == "postgresql":
        database_sh(site, "verify", folder)
    return manifest


def read_manifest(folder):
    content = read_if_there(os.path.join(folder, MANIFEST))
    if content is None:
        raise Failure("there is no complete backup in {}: it has no {}".format(folder, MANIFEST), "ls -l {}".format(folder))
    try:
        manifest = json.loads(content.decode())
        return {"kind": manifest["kind"], "prefix": manifest["prefix"], "sha256": dict(manifest["sha256"])}
    except (ValueError, KeyError, TypeError) as error:
        raise Failure("the backup {} is damaged: {} cannot be read: {!r}".format(folder, MANIFEST, error), "ls -l {}".format(folder))


def restore(site, folder, run_id, verb="restore"):
    finish_swap(site)
    manifest = verify(site, folder)
    if manifest["prefix"] != site.config.prefix:
        raise Failure("the backup {} is of another database than {} names, or that had another password, port or name then; nothing was restored"
                      .format(folder, site.config_path),
                      "tar -xOf {} models/000_config.py | diff {} - | grep settings.database".format(os.path.join(folder, ARCHIVE), site.config_path))
    loaded, configuration = load_beside(site, folder, run_id)
    try:
        note_what_is_there(site, loaded, run_id)
        if site.is_postgresql:
            database_sh(site, verb, folder, run_id)
        kept = swap_databases(site, loaded, run_id)
        restore_configuration(site, configuration, kept)
    except BaseException:
        if not is_unfinished(site):
            forget(site, loaded)
        raise
    forget(site, loaded)
    print("restored databases/ and the configuration; what was there is {} now".format(kept))


def point(site, run_id):
    refuse_half_restored(site)
    if site.is_postgresql:
        database_sh(site, "point", run_id)
    else:
        print("no restore point: with SQLite a restore is as fast")


def back(site, folder, run_id):
    restore(site, folder, run_id, "back" if site.is_postgresql else "restore")


def prune(site, number):
    if not re.match(r"\d{1,5}\Z", number):
        raise Failure("{} is no number of databases to keep".format(number))
    if site.is_postgresql:
        database_sh(site, "prune", number)
    # What was loaded and never swapped is of no use, unless it is what a killed restore needs.
    note = read_note(site)
    for name in siblings(site, "databases-new-"):
        if not note or note["loaded"] != os.path.join(aside(site), name):
            remove_tree(os.path.join(aside(site), name))
    for name in sorted(siblings(site, "databases-old-"), reverse=True)[int(number):]:
        remove_tree(os.path.join(aside(site), name))
        remove_tree(os.path.join(aside(site), name.replace("databases", "models", 1)))
        print("removed {}".format(name))


# Loading beside, and the swap.

def aside(site):
    """Where what is loaded and what was there lie: in the state folder, or beside databases/ where that is on another disk."""
    real = os.path.realpath(site.databases)
    keep_in(site.state)
    same_disk = os.stat(site.state).st_dev == os.stat(os.path.dirname(real)).st_dev
    return site.state if same_disk else os.path.dirname(real)


def siblings(site, start):
    return [name for name in os.listdir(aside(site)) if name.startswith(start) and RUN_ID.match(name[len(start):])]


def load_beside(site, folder, run_id):
    loaded = os.path.join(aside(site), "databases-new-" + run_id)
    remove_tree(loaded)
    os.mkdir(loaded, 0o700)
    site.give_to_owner(loaded)
    descriptor = os.open(loaded, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with open(os.path.join(folder, ARCHIVE), "rb") as file:
            return loaded, site.as_owner(archive.unpack, file, descriptor)
    except Failure:
        remove_tree(loaded)
        raise
    finally:
        os.close(descriptor)


def swap_databases(site, loaded, run_id):
    real = os.path.realpath(site.databases)
    if not site.is_postgresql:
        site.as_owner(settle, os.path.join(real, "storage.db"))
    kept = os.path.join(aside(site), "databases-old-" + free_id(site, run_id))
    os.rename(real, kept)
    os.rename(os.path.join(loaded, "databases"), real)
    os.chmod(kept, 0o700)
    for folder in (aside(site), os.path.dirname(real)):
        sync_folder(folder)
    return kept


def free_id(site, run_id):
    """The run's own, or when that is taken, because the call was killed and is repeated, the next one; as in database.sh."""
    while os.path.lexists(os.path.join(aside(site), "databases-old-" + run_id)):
        run_id = "{}-{:08x}".format(run_id[:-9], (int(run_id[-8:], 16) + 1) & 0xffffffff)
    return run_id


def finish_swap(site):
    """Killed between the two renames: there is no databases/, but what was loaded to be it."""
    note = read_note(site)
    real = os.path.realpath(site.databases)
    if note and not os.path.lexists(real):
        os.rename(os.path.join(note["loaded"], "databases"), real)


def restore_configuration(site, former, kept):
    """Files that differ; what was there is kept aside, too."""
    now = site.as_owner(archive.configuration, site.folder)
    for path in archive.CONFIGURATION:
        if former[path] == now[path]:
            continue
        if now[path] is not None:
            keep_in(kept.replace("databases-old", "models-old"))
            keep(os.path.join(kept.replace("databases-old", "models-old"), os.path.basename(path)), now[path].encode("latin-1"))
        if former[path] is None:
            site.as_owner(os.unlink, site.path(path))
        elif now[path] is None:
            site.as_owner(write_whole, site.path(path), former[path].encode("latin-1"), 0o640)
        else:
            site.replace(site.path(path), former[path].encode("latin-1"))


def settle(path):
    with archive.quiet(path):
        pass


# The note of what was there before the swaps.

def note_path(site):
    return os.path.join(site.state, "restoring.json")


def read_note(site):
    content = read_if_there(note_path(site))
    return json.loads(content.decode()) if content else None


def note_what_is_there(site, loaded, run_id):
    # Of an unfinished restore, the note of the call that was killed stays: it says what belongs together.
    note = read_note(site) if is_unfinished(site) else dict(identities(site), run=run_id)
    keep(note_path(site), json.dumps(dict(note, loaded=loaded)).encode())


def identities(site):
    """Numbers that change when the database, or databases/, is swapped."""
    if not os.path.isdir(site.databases):
        return {"databases": None}
    return {"database": site.as_owner(database_oid, site) if site.is_postgresql else 0, "databases": os.stat(site.databases).st_ino}


def database_oid(site):
    # Asked in another database: a call that was killed may have left this one closed.
    for other in ("postgres", "template1"):
        try:
            connection = connect(site, other)
        except Failure as failure:
            problem = failure
            continue
        try:
            return query(connection, "select oid::bigint from pg_database where datname = %s", site.config.name)[0][0]
        finally:
            connection.close()
    raise problem


def is_unfinished(site):
    """Has a restore changed something, and not come to its end?"""
    note = read_note(site)
    return bool(note) and any(note[part] != number for part, number in identities(site).items())


def forget(site, loaded):
    remove_file(note_path(site))
    remove_tree(loaded)


def refuse_half_restored(site):
    if is_unfinished(site):
        raise Failure("a restore was killed (run {}): the database, databases/ and the configuration may be of different states"
                      .format(read_note(site)["run"]), "repeat it: fleet {} restore -e backup-id=RUN".format(site.name or "SITE"))


# The database itself.

def database_sh(site, *words, **options):
    """Runs database.sh to its end. By its environment: an argv can be seen by every user of the host."""
    config = site.config
    environment = dict(site.environment, DATABASE="postgresql", DATABASE_NAME=config.name,
                       DATABASE_HOST="", DATABASE_USER="", DATABASE_CREDENTIALS="", PGHOST=config.host, PGPORT=config.port, PGUSER=config.user, PGPASSWORD=config.password)
    command = [os.path.join(site.files, "git-site", "database.sh")] + list(words)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, universal_newlines=True, **options)
    try:
        output, _ = process.communicate()
    except BaseException:
        # It opens again what it has closed, so it must not be killed.
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0:
        raise Failure("PostgreSQL, {}: {} failed, see above".format(config.name, words[0]))
    return output


def database_output(site, verb):
    return database_sh(site, verb, stdout=subprocess.PIPE).rstrip("\n") if site.is_postgresql else ""


def sqlite_schema(site):
    connection = connect_to_read(site)
    try:
        rows = query(connection, "select type, name, tbl_name, sql from sqlite_master"
                                 r" where name not like 'sqlite\_stat%' escape '\' order by 1, 2, 3")
        return "\n".join("|".join(str(value) for value in row) for row in rows)
    finally:
        connection.close()


def noted(path):
    return hashlib.sha256(json.dumps(read_table(path), sort_keys=True).encode()).hexdigest()
