"""What changes in the code between two revisions that a site feels apart from its tables: commits, the configuration's template, settings,
libraries."""
import ast
import importlib
import os
import re
import sys

from config import be_silent, dotted
from eden_site import git, hide_own_modules
from failure import counted

TEMPLATE = "modules/templates/000_config.py"
COMMITS = 100  # that are listed
# Names under which libraries are imported, where they are not those of their packages.
IMPORTED_AS = {"python-dateutil": "dateutil", "pillow": "PIL", "pyyaml": "yaml", "psycopg2-binary": "psycopg2", "beautifulsoup4": "bs4",
               "python-docx": "docx", "pyserial": "serial", "gdal": "osgeo.gdal", "scikit-learn": "sklearn", "msgpack-python": "msgpack"}


def report_history(site, report, present, revision):
    """The texts of the commits and the changes of the template go to standard output."""
    print(site.mask(history(site, present, revision)))
    if git(site.folder, "rev-list", "--max-count=1", revision + ".." + present):
        report("warning", "backwards", "the new revision does not contain all commits that run here: see `fleet {} diff`".format(site.name or "SITE"))
    limit = site.environment.get("EDEN_NOT_BEYOND", "")
    if limit and not is_within(site, revision, limit):
        report("block", "not-beyond", "the revision {} is not within the history of {}, beyond which this site must not go (variable not-beyond)"
               .format(revision[:10], limit))
    changes = git(site.folder, "diff", "--no-color", "--no-ext-diff", present, revision, "--", TEMPLATE)
    if changes:
        lines = sum(1 for line in changes.splitlines() if re.match(r"[+-](?![+-])", line))
        report("notice", "config", "{} changed in {}: look whether models/000_config.py needs the same; the difference is in this step's output"
               .format(counted(lines, "line"), TEMPLATE))
        print(site.mask(changes))


def history(site, present, revision):
    """The commits that come, and in full those that speak of a migration."""
    between = present + ".." + revision
    titles = git(site.folder, "log", "--no-color", "--format=  %h %an, %ad: %s", "--date=short", "--max-count=" + str(COMMITS), between)
    number = int(git(site.folder, "rev-list", "--count", between))
    told = git(site.folder, "log", "--no-color", "--regexp-ignore-case", "--grep=migrat", "--format=%h %an, %ad%n%w(0,4,4)%B", "--date=short", between)
    text = "{}..{}: {}\n{}".format(present[:10], revision[:10], counted(number, "commit"), titles)
    if number > COMMITS:
        text += "  and {} older\n".format(number - COMMITS)
    return text + ("These speak of a migration:\n" + told if told else "")


def is_within(site, revision, limit):
    """Is the revision the commit `limit`, or one before it?"""
    end = git(site.folder, "rev-parse", "--verify", "--quiet", limit + "^{commit}", fine=(0, 1, 128)).strip()
    return bool(end) and not git(site.folder, "rev-list", "--max-count=1", end + ".." + revision)


# Settings of the configuration.

def report_settings(site, report, present, revision):
    """Settings that the configuration makes, and that only the present code reads."""
    names = [name for name in site.config.values if name.count(".") == 1]
    lost = read_settings(site, present, names) - read_settings(site, revision, names)
    for name in sorted(lost):
        report("warning", "setting." + name, "models/000_config.py sets this, and the new code does not read it any more")


def read_settings(site, revision, names):
    """Which of the settings the code names: as `section.key`, `section.get("key"`, `("section", "key"` or `get_section_key`."""
    patterns = {name: r"{}[\"'., _]+(get\([\"'])?{}([^A-Za-z0-9_]|$)".format(*[re.escape(part) for part in name.split(".")]) for name in names}
    if not patterns:
        return set()
    found = git(site.folder, "grep", "-h", "-I", "-E", "-e", "|".join("({})".format(pattern) for pattern in patterns.values()), revision, "--",
                "*.py", ":!modules/templates", fine=(0, 1))
    return {name for name, pattern in patterns.items() if re.search(pattern, found)}


def drop_statement(path, line):
    """Empties the statement of a configuration file that the line belongs to, and returns the name of its setting."""
    with open(path, "rb") as file:
        source = file.read()
    statements = ast.parse(source).body
    at = max(number for number, statement in enumerate(statements) if statement.lineno <= line)
    end = statements[at + 1].lineno - 1 if at + 1 < len(statements) else None
    lines = source.splitlines(keepends=True)
    for number in range(statements[at].lineno - 1, end or len(lines)):
        lines[number] = b"\n"
    with open(path, "wb") as file:
        file.write(b"".join(lines))
    targets = [dotted(target) for target in getattr(statements[at], "targets", [])]
    return next((name for name in targets if name), "line-{}".format(line))


# Libraries.

def report_requirements(site, report, present, revision):
    """Libraries that the new revision wants, and that the site's Python cannot import."""
    wanted, known = requirements(site, revision), requirements(site, present)
    errors = site.as_owner(import_errors, site.web2py_folder, [name for name in wanted])
    for name, error in sorted(errors.items()):
        if name in known:
            report("warning", "requirement." + name, "{} cannot import it: {}; the present revision wants it, too".format(sys.executable, error))
        else:
            report("block", "requirement." + name, "requirements.txt of the new revision wants it, and {} cannot import it: {}".format(sys.executable, error))


def requirements(site, revision):
    """The names in requirements.txt."""
    if not git(site.folder, "ls-tree", "--name-only", revision, "--", "requirements.txt"):
        return []
    lines = git(site.folder, "show", revision + ":requirements.txt").splitlines()
    names = [re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line) for line in lines]
    return [name.group(1) for name in names if name]


def import_errors(web2py, names):
    """{name: why it cannot be imported}"""
    hide_own_modules()
    sys.path[:0] = [web2py, os.path.join(web2py, "site-packages")]
    be_silent()
    errors = {}
    for name in names:
        try:
            importlib.import_module(IMPORTED_AS.get(name.lower(), name.replace("-", "_")))
        except BaseException as error:  # what a library raises while it is imported, SystemExit included
            errors[name] = "{}: {}".format(type(error).__name__, str(error).splitlines()[0] if str(error) else "")
    return errors
