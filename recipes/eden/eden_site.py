"""The site on this host: where things lie, who owns them, its configuration, and how a verb reports, masks and starts other programs.

Not called `site`: Python has imported a module of that name before any line of ours runs.

Invariants: a process of root's reads and writes files of the site, and runs its code, only with the rights of the owner of databases/
(`as_owner`, `run`, `web2py`). No secret of 000_config.py is in an argv, in output or in a finding.
"""
import collections
import ctypes
import functools
import json
import os
import pickle
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import traceback

import config as configuration
import files
from failure import Failure, of_system

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
HELPER = os.path.dirname(os.path.abspath(__file__))


class Result(collections.namedtuple("Result", "status output report")):
    """How web2py ended, what it printed (masked), and what inside.py reported, or None where it did not come to that."""

    @property
    def reason(self):
        """Why it failed, in a line."""
        if not self.report:
            lines = self.output.strip().splitlines()
            return "web2py ended with {}{}".format(self.status, ": " + lines[-1] if lines else "")
        failed = self.report["failed"][0]
        what = "hides an error" if "table" in failed else "does not load"
        return "model {} {} ({}): {}".format(failed["model"], what, failed["where"], failed["error"])


class Site:
    def __init__(self, environment):
        self.environment = dict(environment)
        self.folder = os.getcwd()
        self.app = self.environment.get("EDEN_APP") or "eden"
        self.run_id = self.environment.get("FLEET_RUN", "")
        self.name = self.environment.get("FLEET_SITE", "")
        self.files = self.environment.get("FLEET_FILES", os.path.dirname(HELPER))
        self._config = self._secrets = None

    def words(self, name):
        """A variable of the recipe that is a list separated by blanks."""
        return self.environment.get(name, "").split()

    # Where things lie.

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    @property
    def web2py_folder(self):
        return self.environment.get("EDEN_WEB2PY") or os.path.dirname(os.path.dirname(self.folder))

    @property
    def databases(self):
        return self.path("databases")

    @property
    def config_path(self):
        return self.path("models", "000_config.py")

    @property
    def state(self):
        """Folder for what fleet must remember on this host."""
        return self.place(self.environment.get("FLEET_STATE", ".git/fleet"))

    @property
    def backups(self):
        return self.place(self.environment.get("FLEET_BACKUP_DIR", os.path.join(self.state, "backups")))

    def place(self, path):
        """A path from the application's folder. A worktree has a file in the place of the folder .git, which names that folder."""
        git = self.path(".git")
        if path.startswith(".git/") and os.path.isfile(git):
            with open(git, encoding="utf-8") as pointer:
                return os.path.join(self.folder, pointer.read().strip()[len("gitdir: "):], path[len(".git/"):])
        return self.path(path)

    # Who owns it.

    @property
    def owner(self):
        """The user whose rights everything at run time has: the owner of databases/."""
        try:
            uid = os.stat(self.databases).st_uid
        except FileNotFoundError:
            raise Failure("there is no folder {}: the application has never run here".format(self.databases),
                          "fleet {} check".format(self.name or "SITE"))
        try:
            return pwd.getpwuid(uid)
        except KeyError:
            raise Failure("{} belongs to uid {}, which no user of this host has".format(self.databases, uid),
                          "chown -R USER {}".format(self.databases))

    def become_owner(self):
        """Gives up root's rights for good; for a child process. Where the process is not root's it has the rights that it has."""
        if os.geteuid() == 0:
            become(self.owner)

    def as_owner(self, function, *arguments):
        """Calls the function in a child process with the owner's rights, and returns its result, which must be of JSON's types."""
        return in_child(self.become_owner, function, *arguments)

    def give_to_owner(self, folder):
        """Makes everything in a folder that this process has made the owner's."""
        if os.geteuid() != 0:
            return
        user = self.owner
        for top, folders, names in os.walk(folder):
            for path in [top] + [os.path.join(top, name) for name in folders + names]:
                os.lchown(path, user.pw_uid, user.pw_gid)

    def replace(self, path, content):
        """Writes a file of the site anew; mode, owner and group stay. As root with the rights of its owner, where he can write there himself."""
        now, folder = os.stat(path), os.stat(os.path.dirname(os.path.realpath(path)))
        prepare = nothing
        if os.geteuid() == 0 and now.st_uid == folder.st_uid != 0:
            prepare = functools.partial(become, pwd.getpwuid(now.st_uid), now.st_gid)
        in_child(prepare, files.replace, path, content)

    # Reports.

    def finding(self, kind, name, text, values=None):
        """A line of the report of this step: `kind` is notice, warning or block."""
        count = "" if values is None else " values={}".format(values)
        line = "{} {}{} -- {}\n".format(kind, re.sub(r"\s", "_", name) or "-", count, " ".join(self.mask(text).split()))
        with open(self.environment.get("FLEET_FINDINGS") or os.devnull, "a", encoding="utf-8") as report:
            report.write(line)

    def mask(self, text):
        """The text without the secrets of the configuration. What is masked may come from a child that has read it, when this process has not."""
        if self._secrets is None:
            self._secrets = []
            try:
                self.read_config()
            except Failure:
                pass  # then nothing that is printed can hold one: web2py is not started, and no database opened
        for secret in self._secrets:
            text = text.replace(secret, "********")
        return text

    # Its configuration, and what web2py noted about the tables.

    @property
    def config(self):
        """What models/000_config.py says."""
        return self._config or self.read_config()

    def read_config(self):
        """The same, read anew."""
        result = self.as_owner(evaluate_file, self.config_path)
        if result["error"]:
            kind, line = result["error"]
            raise Failure("{} cannot be evaluated: {} in line {}".format(self.config_path, kind, line), "vi +{} {}".format(line, self.config_path))
        self._config = configuration.Config(result["values"])
        self._secrets = self._config.secrets
        return self._config

    @property
    def is_postgresql(self):
        """Is it PostgreSQL, or SQLite? Another one is refused."""
        if self.config.kind not in ("postgresql", "sqlite"):
            raise Failure("{}: the database is {}, and fleet upgrades PostgreSQL and SQLite".format(self.config_path, self.config.kind),
                          "grep database.db_type {}".format(self.config_path))
        return self.config.kind == "postgresql"

    def table_files(self, folder=None):
        """{table: path} of the .table files that belong to the configured database."""
        folder = folder or self.databases
        start = self.config.prefix + "_"
        return {name[len(start):-len(".table")]: os.path.join(folder, name)
                for name in sorted(os.listdir(folder)) if name.startswith(start) and name.endswith(".table")}

    def require_tables(self):
        """Fails when none does: web2py would create every table again, and a backup of such files would be worth nothing."""
        if not self.table_files():
            raise Failure("no .table file in {} belongs to the database that {} names: was its password, port, host or name changed? "
                          "web2py would create every table again".format(self.databases, self.config_path), "ls {}".format(self.databases))

    def table(self, name):
        """What web2py noted about a table of the configured database: {column: ...}."""
        return read_table(self.table_files()[name])

    def tables(self, folder=None):
        """{table: {column: what web2py noted}} of the configured database."""
        return {table: read_table(path) for table, path in self.table_files(folder).items()}

    # Other programs.

    def options(self, environment=None):
        """Options of subprocess for a program with the owner's rights and without a terminal."""
        variables = dict(self.environment, **(environment or {}))
        if os.geteuid() == 0:
            variables.update(HOME=self.owner.pw_dir, USER=self.owner.pw_name, LOGNAME=self.owner.pw_name)
        return {"env": variables, "stdin": subprocess.DEVNULL, "preexec_fn": self.prepare_program}

    def prepare_program(self):
        """In the child, after its rights are set (that would reset it): the kernel ends the program when this process is killed, so that no
        migration continues while it is being undone."""
        self.become_owner()
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def run(self, arguments, environment=None, **options):
        """subprocess.run with the owner's rights, without a terminal."""
        return subprocess.run(arguments, **dict(self.options(environment), **options))

    def web2py(self, work, app=None, environment=None):
        """Runs `work` of inside.py in web2py, and returns its Result."""
        at_work = Web2py(self, work, app or self.app, environment or {})
        try:
            return at_work.result()
        finally:
            at_work.stop()


class Web2py:
    """web2py at work on inside.py with the owner's rights, from the moment it is made."""

    def __init__(self, site, work, app, environment):
        self.site = site
        site.config  # its secrets must be known before web2py prints anything
        self.output, self.report, self.script = tempfile.TemporaryFile(), tempfile.TemporaryFile(), self.readable("inside.py")
        variables = dict(environment, EDEN_WORK=work, EDEN_REPORT=str(self.report.fileno()), PYTHONDONTWRITEBYTECODE="1")
        command = [sys.executable, "web2py.py", "-S", app, "-R", "/dev/fd/{}".format(self.script.fileno())]
        try:
            self.process = subprocess.Popen(command, cwd=site.web2py_folder, stdout=self.output, stderr=subprocess.STDOUT,
                                            pass_fds=[self.report.fileno(), self.script.fileno()], **site.options(variables))
        except OSError as error:
            raise Failure("{} cannot start {} in {}: {}".format(site.owner.pw_name, sys.executable, site.web2py_folder, error.strerror),
                          "ls -l {} {}".format(sys.executable, site.web2py_folder))

    def readable(self, name):
        """One of our files for the owner: as root's, they lie in a folder that nobody else may enter."""
        copy = tempfile.TemporaryFile()
        with open(os.path.join(HELPER, name), "rb") as file:
            copy.write(file.read())
        copy.flush()
        if os.geteuid() == 0:
            os.fchown(copy.fileno(), self.site.owner.pw_uid, self.site.owner.pw_gid)
        return copy

    def stop(self):
        """Ends it, where an exception came before its end."""
        self.process.kill()
        self.process.wait()

    def result(self):
        """Its Result, once it has ended."""
        status = self.process.wait()
        with self.output, self.report, self.script:
            self.output.seek(0)
            self.report.seek(0)
            reported = self.report.read().decode("utf-8")
            return Result(status, self.site.mask(self.output.read().decode("utf-8", "replace")), json.loads(reported) if reported else None)


def evaluate_file(path):
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise Failure("{} cannot be read: {}".format(path, error.strerror), "ls -l {}".format(path))
    return configuration.evaluate(source, path)


class PlainUnpickler(pickle.Unpickler):
    """Refuses everything but plain values: a pickle of the site's user must not run code with root's rights."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError("it holds a {}.{}".format(module, name))


def read_table(path):
    """What a .table file says: {column: {"type": ..., "sql": ...}}."""
    try:
        with open(path, "rb") as file:
            columns = PlainUnpickler(file).load()
    except OSError as error:
        raise of_system(error)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise Failure("{} cannot be read ({}: {}): a migration was interrupted, or the disk was full; web2py cannot migrate this table any more"
                      .format(path, type(error).__name__, error or "it is empty"), "restore the database and databases/ together from a backup")
    if not isinstance(columns, dict):
        raise Failure("{} is no .table file of web2py".format(path), "ls -l {}".format(path))
    # Releases of web2py before 2.0 noted the SQL type alone.
    return {column: noted if isinstance(noted, dict) else {"type": "unknown", "sql": noted} for column, noted in columns.items()}


def git(repository, *arguments, fine=(0,), **options):
    """The output of a git command; what git says about a failure, a status that is not in `fine`, becomes the error."""
    options["env"] = dict(options.get("env", os.environ), GIT_OPTIONAL_LOCKS="0")  # else `git status` writes the index
    done = subprocess.run(("git", "-C", repository) + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode not in fine:
        raise Failure("git {} in {} failed: {}".format(arguments[0], repository, done.stderr.decode("utf-8", "replace").strip()))
    return done.stdout.decode("utf-8", "replace")


def hide_own_modules():
    """For a process that runs the site's code: where that imports a `config` or a `files` of its own, it must not get ours."""
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != os.path.realpath(HELPER)]
    for name, module in list(sys.modules.items()):
        if name != "__main__" and os.path.dirname(getattr(module, "__file__", None) or "") == HELPER:
            del sys.modules[name]


def nothing():
    """The process has the right rights already."""


def become(user, group=None):
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid if group is None else group)
    os.setuid(user.pw_uid)


def in_child(prepare, function, *arguments):
    """Calls `prepare` and then the function in a child process; the result comes back as JSON, a Failure as itself."""
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        answer = {}
        try:
            prepare()
            answer["result"] = function(*arguments)
        except Failure as failure:
            answer["failure"] = str(failure)
        except OSError as error:
            answer["failure"] = str(of_system(error))
        except BaseException:  # nothing may return into the parent's code
            answer["failure"] = traceback.format_exc()
        with os.fdopen(write, "w") as pipe:
            json.dump(answer, pipe)
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _pid, status = os.waitpid(child, 0)
    if not text:
        raise Failure("{} ended without a result, status {}".format(function.__name__, status))
    answer = json.loads(text)
    if "failure" in answer:
        raise Failure(answer["failure"])
    return answer["result"]
