"""Files and folders of fleet's own: what it keeps of the site."""
import hashlib
import os
import shutil
import stat

from eden_site import write_atomically


def keep_in(folder):
    """Makes the folder. As git-site does it: where the folder above is its group's, who may write to the checkout anyway, what is kept
    there is for that group; elsewhere the group may be everybody's (`users`), and it is for the login alone."""
    above = os.path.dirname(os.path.abspath(folder))
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    mode = os.stat(above).st_mode
    os.umask(0o007 if mode & stat.S_ISGID and mode & stat.S_IWGRP else 0o077)
    os.makedirs(folder, exist_ok=True)


def keep(path, content):
    """Writes a file of fleet's own, with the umask that `keep_in` has set."""
    umask = os.umask(0)
    os.umask(umask)
    write_atomically(path, content, 0o666 & ~umask, os.geteuid(), os.getegid())
    sync_folder(os.path.dirname(path))


def replace(path, content):
    """Writes a file anew, with the mode and the owner that it has."""
    now = os.stat(path)
    write_atomically(path, content, stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)
    sync_folder(os.path.dirname(os.path.realpath(path)))


def sync_folder(folder):
    """Makes new names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_if_there(path):
    """The bytes of a file, or None."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def sha256(path):
    """Of a file's content, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def remove_tree(path):
    """Removes a folder, which may be missing."""
    if os.path.lexists(path):
        shutil.rmtree(path)
