"""What stands in the way of a deployment (`check`), and how the site is (`status`). Both only read; no model runs with the migration on."""
import os
import shutil
import subprocess
import sys

import cron
import fixes
import scheduler
from config import statements_of
from eden_site import git
from failure import Failure, counted
from connection import READ_ONLY, require_database

RUNTIME = ("databases", "errors", "sessions", "uploads", "cache")  # folders that the running site writes to
TOOLS = {"postgresql": ("pg_dump", "pg_restore", "psql"), "sqlite": ()}


def run(site, arguments):
    return {"check": check, "status": status}[arguments[0]](site, *arguments[1:])


def check(site):
    failures = report_obstacles(site, site.finding)
    for failure in failures:
        print(site.mask(str(failure)), file=sys.stderr)
    if not failures:
        print("{}, {}".format(site.config.kind, counted(len(site.table_files()), "table")))
    return 1 if failures else 0


def report_obstacles(site, report):
    """Reports all that stands in the way; returns it as Failures, too. What needs something that is broken is not asked."""
    obstacles = []

    def passes(*checks):
        before = len(obstacles)
        for name, find in checks:
            try:
                found = list(find(site, report) or ())
            except Failure as failure:
                found = [(name, failure)]
            for place, failure in found:
                report("block", place, str(failure))
                obstacles.append(failure)
        return len(obstacles) == before

    passes(("tools", check_git), ("cron", check_cron))
    if passes(("owner", check_user), ("web2py", check_web2py), ("python", check_python), ("config", check_config)):
        passes(("owner", check_owners), ("tables", check_tables), ("tools", check_tools))
        if passes(("database", check_database)):
            passes(("scheduler", check_scheduler))
    return obstacles


def check_web2py(site, _report):
    folder = site.web2py_folder
    for name in ("web2py.py", "VERSION"):
        if not os.path.isfile(os.path.join(folder, name)):
            yield "web2py", Failure("{} has no file {}: web2py does not start there (variable web2py)".format(folder, name), "ls {}".format(folder))
    if os.path.realpath(os.path.join(folder, "applications", site.app)) != os.path.realpath(site.folder):
        yield "web2py", Failure("{} is not the application {} of the web2py in {} (variables web2py, app)".format(site.folder, site.app, folder),
                                "ls -l {}/applications".format(folder))
    missing = [name for name in ("deposit", "logs", "site-packages") if not os.path.isdir(os.path.join(folder, name))]
    if missing and not site.as_owner(os.access, folder, os.W_OK):
        yield "web2py", Failure("web2py does not start as {}: it cannot make {} in {}".format(site.owner.pw_name, ", ".join(missing), folder),
                                "cd {} && mkdir {}".format(folder, " ".join(missing)))
    handler = os.path.join(folder, "wsgihandler.py")
    if not os.path.isfile(handler) or not (os.geteuid() in (0, os.stat(handler).st_uid)):
        yield "wsgihandler", Failure("{} is not there, or not this login's: fleet touches it, so that Apache runs the new code".format(handler),
                                     "cp {0}/handlers/wsgihandler.py {0}/".format(folder))


def check_python(site, _report):
    """The site's own user can run the Python that runs this."""
    try:
        site.run([sys.executable, "-c", "import glob, sqlite3"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure("{} cannot run {}: {}".format(site.owner.pw_name, sys.executable, error), "set the variable python to one that he can run")


def check_git(_site, _report):
    need("git")


def check_tools(site, _report):
    for tool in TOOLS[site.config.kind]:
        need(tool)


def need(tool):
    if not shutil.which(tool):
        raise Failure("there is no {} on this host".format(tool), "apt-get install {}".format("git" if tool == "git" else "postgresql-client"))


def check_user(site, _report):
    """The owner of databases/ is known, and this process may act as him."""
    owner = site.owner
    if os.geteuid() not in (0, owner.pw_uid):
        raise Failure("{} belongs to {}, and fleet is logged in as uid {}: it can neither read nor write there".format(
            site.databases, owner.pw_name, os.geteuid()), "log in as {} (ssh.user in the site's file), or as root".format(owner.pw_name))


def check_config(site, report):
    config = site.config
    site.is_postgresql  # where it is neither, it is refused
    if config.get("base.fake_migrate", False):
        raise Failure("settings.base.fake_migrate is on in {}: a migration would only note what it should do".format(site.config_path),
                      "comment that line out")
    if config.migrate:
        report("warning", "migrate", "settings.base.migrate is on while the site serves: every request looks whether there is something to migrate, "
                                     "and new code would migrate by itself; set it to False in {}".format(site.config_path))
    with open(site.config_path, "rb") as file:
        assigned, _templates = statements_of(file.read(), "base.migrate")
    if len(assigned) > 1:
        report("warning", "migrate", "settings.base.migrate is set {} times in {}: keep the last one".format(len(assigned), site.config_path))


def check_tables(site, report):
    """The .table files belong to the configured database, and can be read."""
    own = site.table_files()
    alien = [name for name in os.listdir(site.databases) if name.endswith(".table") and not name.startswith(site.config.prefix)]
    site.require_tables()
    if alien:
        report("warning", "tables", "{} in {} belong to another database than {} names, such as {}: left from a former password, port or name"
               .format(counted(len(alien), ".table file"), site.databases, site.config_path, sorted(alien)[0]), len(alien))
    for table in own:
        try:
            site.table(table)
        except Failure as failure:
            yield "tables." + table, failure


def check_database(site, _report):
    require_database(site)


def check_owners(site, _report):
    for name in RUNTIME + ("models",):
        wrong = site.as_owner(not_writable, site.path(name), name != "models")
        if wrong:
            yield "owner." + name, Failure(
                "{} cannot write {} in {}, such as {}: the site fails there".format(site.owner.pw_name, counted(len(wrong), "path"), site.path(name), wrong[0]),
                "chown -R {}: {}".format(site.owner.pw_name, site.path(name)))


def not_writable(folder, with_files):
    """The folder, what lies in it, or what is missing, as far as this process cannot write there."""
    if not os.path.isdir(folder):
        return [] if os.access(os.path.dirname(folder), os.W_OK) else [folder]
    wrong = [] if os.access(folder, os.W_OK | os.X_OK) else [folder]
    for top, folders, files in os.walk(folder) if with_files else ():
        wrong += [os.path.join(top, name) for name in folders + files if not os.access(os.path.join(top, name), os.W_OK)]
    return wrong


def check_cron(site, _report):
    for place in cron.places(site):
        obstacle = None if place.is_off() else place.obstacle()
        if obstacle:
            yield "cron." + place.key, obstacle


def check_scheduler(site, _report):
    workers = scheduler.active_workers(site)
    if workers and not (site.environment.get("FLEET_SCHEDULER_OFF") and site.environment.get("FLEET_SCHEDULER_ON")):
        raise Failure("a worker of web2py's scheduler is running ({}), and fleet does not know how to stop and start it: its jobs would meet half a migration"
                      .format(", ".join(workers)), "set the variables scheduler-off and scheduler-on, such as `sudo systemctl stop eden-worker`")


# Status.

PARTS = ("revision", "submodules", "schema", "maintenance", "cron", "scheduler", "disk", "backups")


def status(site, maintenance="maintenance.flag"):
    """A line for each part; what cannot be told says why, and hides nothing else."""
    tell = {"revision": revision, "submodules": submodules, "schema": schema, "cron": cron_state, "scheduler": scheduler_state, "disk": disk,
            "backups": backups, "maintenance": lambda site: "closed" if os.path.exists(site.path(maintenance)) else "open"}
    for part in PARTS:
        try:
            text = tell[part](site)
        except Failure as failure:
            text = "unknown: " + site.mask(str(failure)).splitlines()[0]
        print("{:<12} {}".format(part, text))
    fixes.run(site, ["list"])


def revision(site):
    changed = git(site.folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none").count("\n")
    text = git(site.folder, "log", "-1", "--no-color", "--format=%h %s").strip()
    return text + (", {} changed on this host".format(counted(changed, "file")) if changed else "")


def submodules(site):
    """git's own marks: `+` another commit than the release's, `-` not there."""
    lines = git(site.folder, "submodule", "status", "--recursive").splitlines()
    return ", ".join("{}{} {}".format(line[0].strip(), line[1:8], line.split()[1]) for line in lines) or "none"


def schema(site):
    require_database(site)
    result = site.web2py("schema-check", environment=READ_ONLY)
    if result.status != 0:
        raise Failure(result.reason)
    unreadable = sorted(result.report["unreadable"])
    return counted(result.report["tables"], "table") + (", not readable: " + ", ".join(unreadable) if unreadable else ", all readable")


def cron_state(site):
    return ", ".join("{} {}".format(place.title, "off" if place.is_off() else "on") for place in cron.places(site)) or "no job of this site"


def scheduler_state(site):
    return ", ".join(scheduler.active_workers(site)) or "no worker is running"


def disk(site):
    usage = shutil.disk_usage(site.folder)
    return "{} MiB free of {} MiB".format(usage.free >> 20, usage.total >> 20)


def backups(site):
    """Whole ones; a name with a dot is none."""
    folder = site.backups
    whole = sorted(name for name in os.listdir(folder) if "." not in name and os.path.isfile(os.path.join(folder, name, "SHA256SUMS"))) \
        if os.path.isdir(folder) else []
    return "{}, the newest {}".format(len(whole), whole[-1]) if whole else "none in " + folder
