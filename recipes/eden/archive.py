"""The files of the site that belong to its database, as one tar archive: databases/ and the configuration.

All of this runs with the rights of the owner of databases/, who may neither read nor write fleet's own folders: the archive and the folder
to unpack in are opened before, and come as an open file and as a descriptor.
"""
import contextlib
import os
import sqlite3
import stat
import tarfile

from eden_site import read_table
from failure import Failure, of_system

CONFIGURATION = ("models/000_config.py", "models/0000_update_check.py")
SQLITE = "databases/storage.db"
PASSING = ("-wal", "-shm", "-journal")  # what SQLite keeps beside its file while it works; nothing of it is needed while `quiet`


def pack(folder, archive):
    """Writes databases/ and the configuration of the application in that folder. SQLite's file is the state of one moment."""
    os.chdir(folder)
    with failing_as("the copy of databases/"), quiet(SQLITE), tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(os.path.realpath("databases"), arcname="databases", filter=lambda member: member if is_kept(member) else None)
        for path in CONFIGURATION:
            if os.path.exists(path):
                tar.add(os.path.realpath(path), arcname=path)
        tar.close()
        archive.flush()
        os.fsync(archive.fileno())


def is_kept(member):
    return (member.isfile() or member.isdir() or member.issym()) and not member.name.endswith(tuple(SQLITE + end for end in PASSING))


def unpack(archive, folder):
    """Unpacks into the folder, which is given as a descriptor, and reads all notes. Returns the configuration.

    SQLite's file was read before it was packed. Here it cannot be: SQLite opens no file below a folder that only root may enter.
    """
    os.fchdir(folder)
    os.umask(0o077)
    with failing_as("the files of the backup"), tarfile.open(fileobj=archive) as tar:
        # The owner's own files come back with the owner's rights: there is nothing to filter (Python 3.12 and later ask).
        tar.extraction_filter = lambda member, _path: member
        tar.extractall()
        os.sync()
    for name in os.listdir("databases"):
        if name.endswith(".table"):
            read_table(os.path.join("databases", name))
    return configuration(os.curdir)


def uploads(folder, listing):
    """Writes names and sizes of the uploaded files, which no backup contains."""
    top = os.path.join(folder, "uploads")
    for place, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            listing.write("{} {}\n".format(os.lstat(path).st_size, os.path.relpath(path, top)).encode("utf-8", "surrogateescape"))
    listing.flush()


def configuration(folder):
    """{path: content or None}. Latin-1 carries every byte through JSON."""
    found = {}
    for path in CONFIGURATION:
        try:
            with open(os.path.join(folder, path), "rb") as file:
                found[path] = file.read().decode("latin-1")
        except FileNotFoundError:
            found[path] = None
    return found


@contextlib.contextmanager
def quiet(path):
    """Nobody writes to SQLite's file meanwhile, and all that was written is in it, and not in the file -wal."""
    if not os.path.exists(path):
        yield
        return
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        busy, _pages, _moved = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        connection.execute("begin immediate")
        refuse_damaged(path)
        if busy == 1 or os.path.exists(path + "-wal") and os.path.getsize(path + "-wal"):
            raise sqlite3.OperationalError("somebody writes to it all the time")
        yield
    except sqlite3.OperationalError as error:
        raise Failure("{} cannot be copied: {}; nothing was changed".format(path, error), "fuser -v {}".format(path))
    finally:
        connection.close()


def refuse_damaged(path):
    """Every page of SQLite's file is read. An empty file is a database to SQLite, without a table."""
    connection = sqlite3.connect("file:{}?mode=ro".format(path), uri=True)
    try:
        if os.path.getsize(path) == 0:
            raise sqlite3.DatabaseError("it is empty")
        found = [row[0] for row in connection.execute("pragma integrity_check(5)")]
        if found != ["ok"]:
            raise sqlite3.DatabaseError("; ".join(found))
    except sqlite3.DatabaseError as error:
        raise Failure("{} is damaged: {}".format(path, error), "sqlite3 {} .recover".format(path))
    finally:
        connection.close()


def size(folder):
    """MiB of databases/."""
    total = 0
    for place, _folders, names in os.walk(os.path.join(folder, "databases")):
        for name in names:
            found = os.lstat(os.path.join(place, name))
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return (total + (1 << 20) - 1) >> 20


@contextlib.contextmanager
def failing_as(what):
    try:
        yield
    except (OSError, tarfile.TarError, EOFError) as error:
        if getattr(error, "filename", None):
            raise of_system(error)
        raise Failure("{} cannot be written: {}".format(what, error), "df -h .")
