"""How a verb fails: what is wrong, where, and what it means; then, as `hint`, what to type."""
import errno
import os

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Failure(Exception):
    def __init__(self, text, hint=None):
        super().__init__(text + ("\nhint: " + hint if hint else ""))


def of_system(error):
    """The Failure for an OSError that nobody foresaw: a full disk, a right that is missing."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    folder = os.path.dirname(path) or "."
    if error.errno in NO_ROOM:
        return Failure("{} cannot be written, the disk is full: {}".format(path or "a file", error.strerror), "df -h {} /tmp".format(folder))
    return Failure("{} cannot be used as uid {}: {}".format(path or "a file", os.geteuid(), error.strerror or error),
                   "ls -ld {} {}".format(folder, path).strip())


def counted(number, noun):
    """`1 table`, `2 tables`"""
    return "{} {}{}".format(number, noun, "" if number == 1 else "s")
