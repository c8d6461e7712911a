"""Waits for the cron jobs of the site that are running. Switched off, cron starts none anew; but those of before would meet the migration.

A job is a process that cron has started, and all below it. It is the site's when it runs as a login whose crontab is the site's, or when its
command line or its working directory leads into web2py's folder. What left cron's processes behind (a daemon) cannot be told from others.
"""
import collections
import os
import pwd
import time

from cronlines import BETWEEN_WORDS, is_inside
from failure import Failure

CRONS = ("cron", "crond")
DEFAULT_WAIT = "600"


class Process(collections.namedtuple("Process", "pid program parent started")):
    """`started` is in clock ticks since the start of the host: a number is given again to another process."""

    @property
    def identity(self):
        return self.pid, self.started


def run(site, arguments):
    if arguments:
        raise Failure("jobs takes nothing")
    if not os.path.exists("/proc/1/stat"):
        site.finding("warning", "jobs", "this login cannot see the processes of others: cron jobs that are still running are not waited for")
    deadline = time.monotonic() + limit(site)
    known = processes()
    waited_for = firsts(site, known)
    while True:
        # What they start, too: it may outlive them.
        waited_for = below(known, waited_for)
        still = [process for process in known.values() if process.identity in waited_for]
        if not still:
            return
        if time.monotonic() > deadline:
            raise Failure("after {:.0f} seconds cron jobs of the site still run: {}".format(
                limit(site), ", ".join("{} ({})".format(process.pid, process.program) for process in still)),
                          "wait for them, or raise the variable jobs-wait")
        time.sleep(0.5)
        known = processes()


def limit(site):
    """Seconds that what runs may take to its end: cron jobs here, tasks of the scheduler there."""
    return float(site.environment.get("EDEN_JOBS_WAIT") or DEFAULT_WAIT)


def firsts(site, known):
    """The first process of every job of the site."""
    logins = {login.pw_uid for login in pwd.getpwall() if login.pw_name in site.words("EDEN_CRON_USERS")}
    folder = os.path.realpath(site.web2py_folder)
    crons = {process.pid for process in known.values() if process.program in CRONS}
    candidates = {process.identity for process in known.values() if process.parent in crons and process.pid not in crons}
    of_site = {process.identity for process in known.values() if is_of_site(process, logins, folder)}
    return {first for first in candidates if below(known, {first}) & of_site}


def below(known, identities):
    """These, and all that they have started and that still is below them."""
    while True:
        pids = {process.pid for process in known.values() if process.identity in identities}
        more = {process.identity for process in known.values() if process.parent in pids} - identities
        if not more:
            return identities
        identities = identities | more


def is_of_site(process, logins, folder):
    about = "/proc/{}/".format(process.pid)
    try:
        if os.stat(about).st_uid in logins:
            return True
        with open(about + "cmdline", "rb") as command_line:
            words = BETWEEN_WORDS.split(os.fsdecode(command_line.read().replace(b"\0", b" ")))
    except OSError:
        return False  # it has ended
    return any(word.startswith("/") and is_inside(folder, word) for word in words + [working_directory(about)])


def working_directory(about):
    try:
        return os.readlink(about + "cwd")
    except OSError:
        return ""  # of another login it cannot be seen


def processes():
    """{pid: Process} of all that this login can see; proc(5)."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/{}/stat".format(name), "rb") as stat:
                    before, _, after = os.fsdecode(stat.read()).rpartition(")")
            except OSError:
                continue  # it has ended
            fields = after.split()
            if fields[0] != "Z":
                found[int(name)] = Process(int(name), before.partition("(")[2], int(fields[1]), int(fields[19]))
    return found
