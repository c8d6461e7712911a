"""Files and folders of fleet's own: what it keeps of the site."""
import hashlib
import os
import shutil
import stat

from failure import Failure

BESIDE = ".fleet-new"  # neither cron nor web2py reads such a name


def keep_in(folder):
    """Makes the folder. As git-site does it: where the folder above is its group's, who may write to the checkout anyway, what is kept
    there is for that group; elsewhere the group may be everybody's (`users`), and it is for the login alone."""
    above = os.path.abspath(folder)
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    mode = os.stat(above).st_mode
    os.umask(0o007 if mode & stat.S_ISGID and mode & stat.S_IWGRP else 0o077)
    os.makedirs(folder, exist_ok=True)


def keep(path, content):
    """Writes a file of fleet's own, with the umask that `keep_in` has set."""
    umask = os.umask(0)
    os.umask(umask)
    write_whole(path, content, 0o666 & ~umask)


def replace(path, content):
    """Writes a file anew, with the mode, the group, and as root the owner, that it has."""
    like = os.stat(path)
    if os.geteuid() != 0 and like.st_gid not in os.getgroups() + [os.getegid()]:
        # No new file can have that group, by which the web server may read it.
        write_in_place(path, content)
    else:
        write_whole(path, content, stat.S_IMODE(like.st_mode), (like.st_uid if os.geteuid() == 0 else -1, like.st_gid))


def write_in_place(path, content):
    try:
        with open(path, "r+b") as file:
            # Shortened last: what is written over needs no room on the disk.
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Failure("{} cannot be written: {}".format(path, error.strerror), "df -h {0}; ls -l {0}".format(path))


def write_whole(path, content, mode, owner=None):
    """Written beside, flushed, renamed: nobody reads half a file, also after a crash. Where `path` is a link it stays one."""
    path = os.path.realpath(path)
    try:
        remove_leftover(path)
        write_new(path + BESIDE, content, mode, owner)
        os.rename(path + BESIDE, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        remove_leftover(path)
        raise Failure("{} cannot be written: {}; it stays as it was".format(path, error.strerror),
                      "df -h {0}; ls -ld {0}".format(os.path.dirname(path)))


def remove_leftover(path):
    """What a call that was killed while it wrote the file has left."""
    remove_file(os.path.realpath(path) + BESIDE)


def write_new(path, content, mode, owner):
    # Nobody reads it before it has its mode: it may hold a password.
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_EXCL, 0o600)) as file:
        file.write(content)
        made = os.fstat(file.fileno())
        if owner and owner not in ((made.st_uid, made.st_gid), (-1, made.st_gid)):
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())


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
    except OSError as error:
        raise Failure("{} cannot be read: {}".format(path, error.strerror), "ls -l {}".format(path))


def sha256(path):
    """Of a file's content, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def remove_file(path):
    """Removes a file, which may be missing."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_tree(path):
    """Removes a folder, which may be missing."""
    if os.path.lexists(path):
        shutil.rmtree(path)
