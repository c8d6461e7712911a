"""Switches the cron jobs of the site off and on again, byte for byte.

/etc/crontab and /etc/cron.d/* are shared with others: there, the lines that run this web2py become comments. The crontab of one of the
site's logins is replaced as a whole. What was there is kept in the state folder before anything changes, so a call that was killed is
repeated with the same words. What somebody writes meanwhile is never overwritten.
"""
import contextlib
import fcntl
import os
import pwd
import re
import shutil
import subprocess

from cronlines import job_lines
from failure import Failure
from files import keep, keep_in, read_if_there, remove_file, remove_leftover, replace

MARK = "# Switched off by fleet: site {}, run {}"
ANY_MARK = "# Switched off by fleet: "
CRON_READS = re.compile(r"[A-Za-z0-9_-]+\Z")  # other names in cron.d, such as x.dpkg-old, it ignores
NO_CRONTAB = re.compile(r"no crontab|no such file", re.IGNORECASE)


def run(site, arguments):
    verbs = {"off": off, "on": on, "undo-off": undo_off, "undo-on": undo_on, "is-off": is_off, "was-off": was_off}
    if len(arguments) != 1 or arguments[0] not in verbs:
        raise Failure("cron takes one of the words " + ", ".join(verbs))
    with alone(site):
        return verbs[arguments[0]](site)


def places(site):
    """Every place that has jobs of this site, or that is off."""
    found = {place.key: place for place in switched_off(site)}
    for place in tables(site) + crontabs(site):
        if place.key not in found and place.is_readable() and place.has_jobs(place.read()):
            found[place.key] = place
    return [found[key] for key in sorted(found)]


def off(site):
    todo = places(site)
    # All are looked at before the first one changes.
    for place in todo:
        obstacle = None if place.is_off() else place.obstacle()
        if obstacle:
            raise obstacle
    for place in out_of_reach(site):
        site.finding("warning", "cron." + place.key, "{} cannot read {}: if it runs this web2py, it still does".format(me(), place.title))
    for place in todo:
        place.switch_off()


def on(site):
    switch_on(switched_off(site), "cron was not switched off here")


def undo_off(site):
    # What an earlier run left off is not for this one to deal with.
    switch_on([place for place in switched_off(site) if place.is_of_run()], "cron was not switched off by this run")


def undo_on(site):
    # What this run still undoes must not meet a running cron. Somebody may have edited a place since.
    each([place for place in places(site) if not place.is_edited()], lambda place: place.switch_off())


def is_off(site):
    return 0 if all(place.is_off() for place in places(site)) else 1


def was_off(site):
    return 0 if switched_off(site) else 1


def switch_on(todo, none):
    if not todo:
        print(none)
    each(todo, lambda place: place.switch_on())


def each(todo, action):
    """All of them, also when one fails: it does not keep the others back."""
    failures = []
    for place in todo:
        try:
            action(place)
        except Failure as failure:
            failures.append(str(failure))
    if failures:
        raise Failure("\n".join(failures))


@contextlib.contextmanager
def alone(site):
    """Sites of one host share /etc/crontab: one of them at a time changes it."""
    descriptor = os.open(etc(site), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def etc(site):
    return site.environment.get("EDEN_ETC") or "/etc"


def me():
    return pwd.getpwuid(os.geteuid()).pw_name


def folder_of(site):
    return os.path.join(site.state, "cron")


def switched_off(site):
    folder = folder_of(site)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    keys = [name[:-len(".off")] for name in names if name.endswith(".off")]
    return [Crontab(site, key[len("crontab-"):]) if key.startswith("crontab-") else Table(site, key) for key in keys]


def tables(site):
    folder = os.path.join(etc(site), "cron.d")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [Table(site, "etc.crontab")] + [Table(site, "etc.cron.d." + name) for name in names if CRON_READS.match(name)]
    return [table for table in found if os.path.isfile(table.path)]


def crontabs(site):
    existing = {user.pw_name for user in pwd.getpwall()} if shutil.which("crontab") else ()
    return [Crontab(site, login) for login in site.words("EDEN_CRON_USERS") if login in existing]


def out_of_reach(site):
    """Places of which the login that runs this cannot see whether they have jobs of the site."""
    return [place for place in tables(site) + crontabs(site) if not place.is_readable()]


class Place:
    """A file that cron reads. The state folder has KEY.saved, as the place was, and KEY.off, as fleet wrote it."""

    def __init__(self, site, key, title):
        self.site = site
        self.key = key
        self.title = title
        self.mark = MARK.format(site.name, site.run_id)

    def kept(self, end):
        return os.path.join(folder_of(self.site), self.key + end)

    def is_off(self):
        now = self.read()
        return not self.has_jobs(now) or now == read_if_there(self.kept(".off"))

    def is_of_run(self):
        return os.fsencode(self.mark) in read_if_there(self.kept(".off"))

    def is_edited(self):
        off = read_if_there(self.kept(".off"))
        return off is not None and self.read() not in (off, read_if_there(self.kept(".saved")))

    def switch_off(self):
        now = self.read()
        if os.path.exists(self.kept(".off")):
            # Off already; or what an earlier run left, and a person has dealt with since.
            if now == read_if_there(self.kept(".off")):
                return
            self.switch_on()
            now = self.read()
        if not self.has_jobs(now):
            return
        self.refuse_mixed(now)
        self.prove(now)
        without = self.without_jobs(now)
        keep_in(folder_of(self.site))
        keep(self.kept(".saved"), now)
        keep(self.kept(".off"), without)
        self.write(without)

    def switch_on(self):
        now, saved, off_text = self.read(), read_if_there(self.kept(".saved")), read_if_there(self.kept(".off"))
        if now == off_text and saved is None:
            raise Failure("{} is off, and its former content is missing: {}".format(self.title, self.kept(".saved")),
                          "put it right by hand, then: rm {}".format(self.kept(".off")))
        if now == off_text:
            self.write(saved)
        elif now == saved:
            print("{} is back already".format(self.title))
        elif not self.merge(now, off_text) and saved is not None:
            replaced = self.kept(".replaced." + self.site.run_id)
            os.rename(self.kept(".saved"), replaced)
            print("somebody wrote {} while it was switched off: that stays; the former one is {}".format(self.title, replaced))
        remove_file(self.kept(".off"))
        remove_file(self.kept(".saved"))


class Table(Place):
    """/etc/crontab, or a file of /etc/cron.d: some of its lines are the site's."""

    def __init__(self, site, key):
        # The names that cron reads have no dot.
        self.path = os.path.join(etc(site), key[len("etc."):].replace(".d.", ".d/"))
        super().__init__(site, key, self.path)

    def is_readable(self):
        return os.access(self.path, os.R_OK)

    def read(self):
        return read_if_there(self.path)

    def write(self, content):
        replace(self.path, content)

    def has_jobs(self, content):
        return content is not None and self.without_jobs(content) != content

    def without_jobs(self, content):
        lines = os.fsdecode(content).split("\n")
        for number in job_lines(lines, self.site.web2py_folder):
            lines[number] = "{}: {}".format(self.mark, lines[number])
        return os.fsencode("\n".join(lines))

    def with_jobs(self, content):
        """Lines that were switched off for this site, by whichever run, are as they were."""
        mark = re.escape(MARK.format(self.site.name, "RUN")).replace("RUN", "[^ :]*")
        return os.fsencode(re.sub("^" + mark + ": ", "", os.fsdecode(content), flags=re.MULTILINE))

    def obstacle(self):
        if os.access(os.path.dirname(os.path.realpath(self.path)), os.W_OK):
            return None
        return Failure("{} has jobs of this web2py, and {} cannot switch them off: they would run in the middle of the migration"
                       .format(self.path, me()),
                       "as root: crontab -u {} -e, and move the lines of {} there".format(me(), self.path))

    def prove(self, content):
        pass

    def refuse_mixed(self, content):
        if self.with_jobs(content) != content:
            raise Failure("{} has lines that fleet switched off for {}, but not from here and now: put them right first"
                          .format(self.path, self.site.name),
                          "grep -n '{}site {}' {}".format(ANY_MARK, self.site.name, self.path))

    def switch_on(self):
        remove_leftover(self.path)
        super().switch_on()

    def merge(self, now, off_text):
        """Switches on what is left of the site's lines in what somebody has made of the file. Are these all?"""
        if now is None:
            return False
        if self.with_jobs(now) != now:
            self.write(self.with_jobs(now))
            print("{} was edited while its jobs were off: they are on, and the edit stays".format(self.path))
        return {line for line in off_text.split(b"\n") if self.with_jobs(line) != line} <= set(now.split(b"\n"))


class Crontab(Place):
    """The crontab of a login."""

    def __init__(self, site, login):
        self.login = login
        super().__init__(site, "crontab-" + login, "the crontab of " + login)

    def is_readable(self):
        return self.login == me() or os.geteuid() == 0

    def crontab(self, argument, content=None):
        whose = [] if self.login == me() else ["-u", self.login]
        return subprocess.run(["crontab"] + whose + [argument], input=content, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=dict(os.environ, LC_ALL="C"))

    def read(self):
        listed = self.crontab("-l", b"")
        if listed.returncode == 0:
            return listed.stdout
        error = os.fsdecode(listed.stderr).strip()
        if NO_CRONTAB.search(error):
            return None
        raise Failure("{} cannot be read: {}; it stays as it is".format(self.title, error), "crontab -u {} -l".format(self.login))

    def write(self, content):
        """Gives cron the content, and sees that it has it."""
        written = self.crontab("-", content)
        if written.returncode != 0 or self.read() != content:
            raise Failure("cron does not accept {}: {}".format(self.title, os.fsdecode(written.stderr).strip()),
                          "crontab -u {} -e".format(self.login))

    def has_jobs(self, content):
        return content is not None and content != read_if_there(self.kept(".off"))

    def without_jobs(self, content):
        return os.fsencode("{}. The crontab is kept in {}\n".format(self.mark, self.kept(".saved")))

    def obstacle(self):
        content = self.read()
        if content.endswith(b"\n") or not content:
            return None
        return Failure("the last line of {} has no end: cron would not accept it again, so it cannot be switched off".format(self.title),
                       "crontab -u {} -e, and save it with a newline at the end".format(self.login))

    def prove(self, content):
        # Before anything changes: what cron would not accept again is not switched off.
        self.write(content)

    def refuse_mixed(self, content):
        if os.fsencode(ANY_MARK) in content:
            raise Failure("{} has a line of fleet's, but not from here and now: put the crontab right first".format(self.title),
                          "crontab -u {} FILE, with the file that the line names".format(self.login))

    def merge(self, now, _off_text):
        if now is not None:
            self.refuse_mixed(now)
        return False
