"""What would a deployment of a revision do to this site? `preview REVISION`, before anything closes.

Invariant: it writes neither to the database (its sessions are read-only, which is asked of the database before a model runs; of SQLite it has
a copy) nor to a file of the site. Both revisions, the present one and the new one, are loaded by web2py in folders of their own beside the
application, which are removed in every case.
"""
import contextlib
import fcntl
import functools
import os
import re

import checking
import code_changes
import comparison
import fixes
from eden_site import Web2py, git
from failure import Failure, counted
from preview_folder import PreviewFolder, require_room
from connection import READ_ONLY, require_database
from reading import reader

LIMIT = 2000  # characters of web2py's output that are shown
MAX_NOTICES = 100  # a step may have 1000 findings and 64 KiB of them; new columns alone must not use that up
RETRIES = 5  # broken files of models/, or settings of the configuration, that are left out one after the other to see the rest


def run(site, arguments):
    revision = git(site.folder, "rev-parse", "--verify", "--quiet", arguments[0] + "^{commit}", fine=(0, 1, 128)).strip()
    if not revision:
        raise Failure("{} names no commit that is on this host, in {}".format(arguments[0], site.folder), "git -C {} fetch --tags".format(site.folder))
    present = git(site.folder, "rev-parse", "HEAD").strip()
    report = Report(site)
    try:
        code_changes.report_history(site, report, present, revision)
        checking.report_obstacles(site, report)
        report_changed_files(site, report)
        code_changes.report_settings(site, report, present, revision)
        code_changes.report_requirements(site, report, present, revision)
        with locked(site):
            report_models(site, report, present, revision)
    finally:
        report.write()


class Report:
    """The findings, until all are known: a block makes a warning of the same name needless, and a pending fix makes a block a notice."""

    def __init__(self, site):
        self.site, self.handled, self.findings = site, fixes.handled(site), []

    def __call__(self, kind, name, text, values=None):
        if kind == "block" and name in self.handled:
            kind, text = "notice", "fix {} handles this: {}".format(self.handled[name], text)
        self.findings.append((kind, name, text, values))

    def write(self):
        blocked = {name for kind, name, _text, _values in self.findings if kind == "block"}
        notices = [finding for finding in self.findings if finding[0] == "notice"]
        for finding in self.findings:
            kind, name = finding[:2]
            if not (kind == "warning" and name in blocked or kind == "notice" and len(notices) > MAX_NOTICES):
                self.site.finding(*finding)
        if len(notices) > MAX_NOTICES:
            print("\n".join("{} -- {}".format(name, text) for _kind, name, text, _values in notices))
            self.site.finding("notice", "-", "{} are in this step's output".format(counted(len(notices), "further notice")))


def report_changed_files(site, report):
    changed = git(site.folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none").split("\n")[:-1]
    if changed:
        report("block", "changed", "files were changed on the host itself, and a deployment would lose that: {}; git diff shows it"
               .format(", ".join(line[3:] for line in changed)), len(changed))


@contextlib.contextmanager
def locked(site):
    """Two previews at once would remove each other's folders. The lock ends with the process, however that ends."""
    folder = os.open(site.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Failure("another preview of this site is running on this host", "wait for it, then again")
    finally:
        os.close(folder)


def report_models(site, report, present, revision):
    site.tables()
    require_database(site)
    require_room(site, (present, revision))
    folders = [PreviewFolder(site, "", revision), PreviewFolder(site, "_present", present)]
    works = []
    try:
        for folder in folders:
            folder.make()
            works.append(Web2py(site, "preview", folder.app, READ_ONLY))
        new = folders[0]
        after, before = [work.result() for work in works]
        after, left_out = without_broken_files(site, report, new, after)
        partial = report_failures(site, report, new, after, left_out)
        whole = not left_out and not after.report["failed"]
        tables = before.report["tables"] if before.report and not before.report["failed"] else None
        if tables is None:
            report("warning", "partial", "the models of the present revision do not load either: tables that go are not told from those that went before")
        if after.report["tables"]:
            found, skipped = site.as_owner(compare, site, new.path, tables, after.report["tables"], whole)
            for finding in found:
                report(*finding)
            partial += ["not compared: table " + table for table in skipped]
        if partial:
            report("warning", "partial", "this preview is not complete: " + "; ".join(partial))
    finally:
        for work in works:
            work.stop()
        for folder in folders:
            folder.remove()


def compare(site, folder, before, after, whole):
    """([finding, ...], [table that could not be judged, ...])"""
    # The database has what the present models have made, under the names that these give.
    names = {table: model["stored"] for table, model in dict(after, **(before or {})).items()}
    of_copy = reader(site, os.path.join(folder, "databases", "storage.db"), names)
    found = comparison.Comparison(of_copy, site.tables(), site.tables(os.path.join(folder, "databases")), before, after, whole,
                                  functools.partial(is_named, os.path.join(folder, "modules")))
    return found.run(), found.skipped


def is_named(folder, table):
    """Does any source below the folder have the table's name in quotes?"""
    quoted = re.compile("[\"']{}[\"']".format(re.escape(table)).encode())
    for top, _folders, names in os.walk(folder):
        for name in names:
            with open(os.path.join(top, name), "rb") as source:
                if name.endswith(".py") and quoted.search(source.read()):
                    return True
    return False


def without_broken_files(site, report, folder, result):
    """The result without what breaks in models/: a setting of the configuration that does not evaluate, or a file. What breaks is reported as a
    block, and left out, so that it does not hide the rest. Returns the last result and what was left out."""
    left_out = []
    while result.report and len(left_out) < RETRIES:
        broken = [failed for failed in result.report["failed"] if failed["where"].startswith("models/")]
        if not broken:
            break
        path, line = broken[0]["where"].rsplit(":", 1)
        if path == "models/000_config.py":
            name = site.as_owner(code_changes.drop_statement, os.path.join(folder.path, path), int(line))
            report("block", "setting." + name, "the configuration sets this in line {}, and the new code breaks there: {}".format(line, broken[0]["error"]))
        elif not left_out or left_out[-1].startswith("setting."):
            name = broken[0]["model"]
            report("block", "models." + name, "does not load: {} ({})".format(broken[0]["error"], broken[0]["where"]))
            site.as_owner(os.unlink, os.path.join(folder.path, path))
        else:
            break  # it may only miss what the file that was left out defines
        left_out.append(name)
        result = site.web2py("preview", folder.app, READ_ONLY)
    return result, left_out


def report_failures(site, report, folder, result, left_out):
    """Reports models that do not load. Returns why the preview is partial, if it is."""
    if not result.report:
        raise Failure("the new revision cannot be loaded: {}\n{}".format(result.reason, result.output.strip()[-LIMIT:]),
                      "fleet {} check".format(site.name or "SITE"))
    partial = ["{} was left out, since it breaks".format(name) for name in left_out]
    partial += ["the commit of submodule {} is not on this host".format(name) for name in folder.missing]
    partial += ["a model asks for what only the migration brings, and got no rows: " + asked for asked in sorted(set(result.report["unanswered"]))]
    for failed in firsts(result.report["failed"]):
        if failed["missing"]:
            partial.append("model {} could not work without that ({})".format(failed["model"], failed["error"]))
        elif not left_out:
            report("block", "models." + failed["model"], "does not load: {} ({})".format(failed["error"], failed["where"]))
    if not result.report["tables"]:
        partial.append("no table could be compared, since no model has loaded")
    elif result.report["failed"]:
        partial.append("tables of models that do not load were not compared")
    return partial


def firsts(failures):
    """The first failure of each model: those after it come from that."""
    seen = {}
    for failed in failures:
        seen.setdefault(failed["model"], failed)
    return seen.values()
