"""A revision of the application beside the application, with copies of its configuration and databases/, for web2py to load in a preview.

Nothing is written to the repository: the files come from it through an index of the folder's own. (Rejected: `git worktree add`, which notes
the worktree in .git and leaves the submodules empty.) While it is there, web2py's server answers 503 for it, and its cron finds no crontab.
"""
import os
import shutil
import sqlite3
import subprocess

from config import with_setting
from eden_site import git
from failure import Failure
from files import remove_tree

EMPTY = ("cache", "errors", "sessions", "uploads")  # folders that web2py wants


class PreviewFolder:
    """`name` makes an application name of its own; `missing` lists the submodules that are not on this host."""

    def __init__(self, site, name, revision):
        self.site, self.revision = site, revision
        self.app = "fleet_preview_" + site.app + name
        self.path = os.path.join(os.path.dirname(site.folder), self.app)
        self.missing = []

    def make(self):
        self.remove()
        try:
            os.mkdir(self.path, 0o700)
        except OSError as error:
            raise Failure("{} cannot be made: {}".format(self.path, error.strerror), "ls -ld {}".format(os.path.dirname(self.path)))
        self.check_out(self.site.folder, self.revision, "")
        shutil.rmtree(os.path.join(self.path, "cron"), ignore_errors=True)
        for name in EMPTY + ("models", "databases"):
            os.makedirs(os.path.join(self.path, name), exist_ok=True)
        with open(os.path.join(self.path, "DISABLED"), "w"):
            pass
        self.site.give_to_owner(self.path)
        self.site.as_owner(fill, self.site.folder, self.path)

    def check_out(self, repository, commit, below):
        """The files of a commit into the folder `below`, and those of its submodules into theirs."""
        into = os.path.join(self.path, below)
        index = dict(os.environ, GIT_INDEX_FILE=os.path.join(self.path, "fleet-index"))
        git(repository, "read-tree", commit, env=index)
        git(repository, "checkout-index", "--all", "--prefix=" + os.path.join(into, ""), env=index)
        entries = git(repository, "ls-files", "--stage", "-z", env=index)
        os.unlink(index["GIT_INDEX_FILE"])
        for entry in entries.split("\0"):
            mode, _, path = entry.partition(" ")
            if mode == "160000":
                submodule, wanted = path.split("\t", 1)[1], path.split()[0]
                self.check_out_submodule(os.path.join(repository, submodule), wanted, os.path.join(below, submodule))

    def check_out_submodule(self, repository, commit, below):
        os.makedirs(os.path.join(self.path, below), exist_ok=True)
        known = os.path.exists(os.path.join(repository, ".git")) and subprocess.run(
            ["git", "-C", repository, "cat-file", "-e", commit + "^{commit}"], stderr=subprocess.DEVNULL).returncode == 0
        if known:
            self.check_out(repository, commit, below)
        else:
            self.missing.append(below)

    def remove(self):
        remove_tree(self.path)


def require_room(site, revisions):
    """Fails unless the folders of the revisions, with databases/, have room beside the application."""
    needed = 0
    for revision in revisions:
        sizes = [entry.split()[3] for entry in git(site.folder, "ls-tree", "-r", "--long", "-z", revision).split("\0") if entry]
        needed += sum(int(size) for size in sizes if size != "-")
        needed += sum(entry.stat().st_size for entry in os.scandir(site.databases) if entry.name == "storage.db" or entry.name.endswith(".table"))
    free = shutil.disk_usage(os.path.dirname(site.folder)).free
    if free < needed:
        raise Failure("a preview needs {} MiB in {}, and {} MiB are free".format((needed >> 20) + 1, os.path.dirname(site.folder), free >> 20),
                      "df -h {}".format(os.path.dirname(site.folder)))


def fill(application, folder):
    """Copies what git does not know, with the migration switched on, but faked: web2py notes what it would do, and does nothing."""
    for name in os.listdir(os.path.join(application, "databases")):
        source, target = os.path.join(application, "databases", name), os.path.join(folder, "databases", name)
        if name == "storage.db":
            copy_sqlite(source, target)
        elif name.endswith(".table"):
            shutil.copyfile(source, target)
    models = os.path.join(application, "models")
    if os.path.exists(os.path.join(models, "0000_update_check.py")):
        shutil.copyfile(os.path.join(models, "0000_update_check.py"), os.path.join(folder, "models", "0000_update_check.py"))
    with open(os.path.join(models, "000_config.py"), "rb") as file:
        config = with_setting(with_setting(file.read(), "base.migrate", "True"), "base.fake_migrate", "True")
    with open(os.path.join(folder, "models", "000_config.py"), "wb") as file:
        file.write(config)


def copy_sqlite(source, target):
    """A copy of a database that others may be writing to. The lock of a reader keeps them from it meanwhile; Python 3.6 has no backup()."""
    reader = sqlite3.connect("file:{}?mode=ro".format(source), uri=True)
    try:
        if hasattr(reader, "backup"):
            copy = sqlite3.connect(target)
            reader.backup(copy)
            copy.close()
        else:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            shutil.copyfile(source, target)
    finally:
        reader.close()
