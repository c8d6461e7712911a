"""Fixes: what a release needs besides its migration, written down once in the project as fixes/NNN-name.sql, .py or .sh.

Each runs once for a database, in the order of the numbers. The ledger, databases/fleet-fixes.json, says which did: backup, rollback and
refresh carry it along with the database that they were done to. A fix that was killed is never run again blindly: that database goes back
to a backup, and the ledger with it.
"""
import collections
import hashlib
import json
import os
import re
import time

import fixnew
import fixrun
from failure import Failure
from files import read_if_there, replace, write_whole

NAME = re.compile(r"(\d{3})-[\w.-]+\.(sql|py|sh)\Z")
DIRECTIVE = re.compile(r"\s*(?:--|#)\s*fleet:\s*(.*?)\s*\Z")
HEAD = 5  # lines in which `fleet:` says something
Fix = collections.namedtuple("Fix", "name number content sha256 when handles")


def run(site, arguments):
    verbs = {("before",): run_pending, ("after",): run_pending, ("pending",): show_pending, ("list",): show, ("hash",): show_hash}
    if arguments[:1] == ["new"] and len(arguments) == 3:
        print(fixnew.text(site, arguments[1], arguments[2], [fix.number for fix in project(site)]), end="")
    elif tuple(arguments) in verbs:
        verbs[tuple(arguments)](site, *arguments)
    else:
        raise Failure("usage: fixes before | after | pending | list | hash; fix-new FINDING REVISION")


def run_pending(site, when):
    todo = [fix for fix in pending(site) if fix.when == when]
    for fix in todo:
        began = entry_of(site, fix, "begun")
        write_ledger(site, ledger(site) + [began])
        reason = site.as_owner(fixrun.run, site, fix.name, fix.content)
        if reason:
            write_ledger(site, [entry for entry in ledger(site) if entry != began])
            raise Failure(reason, "edit fixes/{}, and run it again".format(fix.name))
        write_ledger(site, [entry if entry != began else entry_of(site, fix, "done") for entry in ledger(site)])
        print("fix {}: done".format(fix.name))
    if not todo:
        print("no fix to run {} the migration".format(when))


def handled(site):
    """{finding of the preview: the pending fix that answers it}"""
    return {name: fix.name for fix in pending(site) for name in fix.handles}


def promised(site):
    """{finding of the preview: the fix that answers it, and ran in this run}"""
    ran = {entry["name"] for entry in ledger(site) if entry["run"] == site.run_id}
    return {name: fix.name for fix in project(site) if fix.name in ran for name in fix.handles}


def show_pending(site, _verb):
    for fix in pending(site):
        print(fix.name)


def show(site, _verb):
    known = {fix.name: fix for fix in project(site)}
    ran = {entry["name"]: entry for entry in ledger(site)}
    for name in sorted(set(known) | set(ran)):
        entry = ran.get(name)
        what = "{state} {time}, run {run}".format(**entry) if entry else "pending, {} the migration".format(known[name].when)
        if entry and name not in known:
            what += "; not in this project"
        elif entry and entry["sha256"] != known[name].sha256:
            what += "; changed in the project since"
        print("fix {}: {}".format(name, what))


def show_hash(site, _verb):
    digest = hashlib.sha256()
    for fix in project(site):
        digest.update("{} {}\n".format(fix.sha256, fix.name).encode())
    print(digest.hexdigest())


# The project's fixes.

def project(site):
    folder = os.path.join(site.files, "fixes")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [read_fix(os.path.join(folder, name)) for name in names if not name.startswith(".") and not name.endswith(".md")]
    for one, next_one in zip(found, found[1:]):
        if one.number == next_one.number:
            raise Failure("fixes/{} and fixes/{} have the same number: which one runs first?".format(one.name, next_one.name),
                          "mv fixes/{} fixes/{:03}{}".format(next_one.name, int(found[-1].number) + 1, next_one.name[3:]))
    return found


def read_fix(path):
    name = os.path.basename(path)
    if not NAME.match(name):
        raise Failure("fixes/{} is no name of a fix: a number of three digits, and .sql, .py or .sh".format(name), "mv fixes/{0} fixes/001-{0}".format(name))
    content = read_if_there(path)
    when, handles = "before", []
    for line in content.decode("utf-8", "replace").split("\n")[:HEAD]:
        directive = DIRECTIVE.match(line)
        words = directive.group(1).split() if directive else []
        if words in (["before"], ["after"]):
            when = words[0]
        elif words[:1] == ["handles"] and len(words) > 1:
            handles += words[1:]
        elif directive:
            raise Failure("fixes/{}: `fleet: {}` means nothing".format(name, directive.group(1)),
                          "write fleet: before, fleet: after, or fleet: handles TABLE.COLUMN")
    if handles and when == "after":
        raise Failure("fixes/{} handles {}, but runs after the migration, when the values are gone".format(name, handles[0]),
                      "remove the line `fleet: after`")
    return Fix(name, name[:3], content, hashlib.sha256(content).hexdigest(), when, handles)


def pending(site):
    """Those that have not run here; refuses what the ledger contradicts."""
    ran = {entry["name"][:3]: entry for entry in ledger(site)}
    for entry in ran.values():
        if entry["state"] != "done":
            raise Failure("fix {} did not end well in run {}: whether the database has its changes is unknown".format(entry["name"], entry["run"]),
                          "fleet {} restore -e backup-id={}".format(site.name or "SITE", entry["run"]))
    todo = []
    for fix in project(site):
        entry = ran.get(fix.number)
        if entry is None:
            todo.append(fix)
        elif entry["name"] != fix.name:
            raise Failure("fixes/{} has the number of {}, which ran here in run {}".format(fix.name, entry["name"], entry["run"]),
                          "give it a number that is free: fleet {} fix-list".format(site.name or "SITE"))
        elif entry["sha256"] != fix.sha256:
            raise Failure("fixes/{} was changed after it ran here in run {}: this database has what it did then".format(fix.name, entry["run"]),
                          "git checkout fixes/{}, and write what is new as a fix of its own".format(fix.name))
    return todo


# The ledger.

def ledger_path(site):
    return os.path.join(site.databases, "fleet-fixes.json")


def ledger(site):
    text = site.as_owner(read_text, ledger_path(site))
    try:
        entries = json.loads(text) if text is not None else []
        return [{key: str(entry[key]) for key in ("name", "sha256", "run", "time", "state")} for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure("{} cannot be read: {!r}: which fixes ran here is unknown".format(ledger_path(site), error),
                      "put it back from a backup: tar -xOf BACKUP/eden.tar databases/fleet-fixes.json")


def read_text(path):
    content = read_if_there(path)
    return None if content is None else content.decode("utf-8", "replace")


def write_ledger(site, entries):
    site.as_owner(write_text, ledger_path(site), json.dumps(entries, indent=1) + "\n")


def write_text(path, text):
    if os.path.exists(path):
        replace(path, text.encode())
    else:
        write_whole(path, text.encode(), 0o640)


def entry_of(site, fix, state):
    return {"name": fix.name, "sha256": fix.sha256, "run": site.run_id, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "state": state}
