"""Switches web2py's scheduler off and on: its workers, which live where the site's own commands know how to stop and start them.

A worker that is stopped in the middle of a task leaves the task half done. So the workers are first set to DISABLED, in which they end
what they do and take nothing new; then the command of the site stops them; then no heartbeat proves that they are gone. The rows of
stopped workers are removed: a worker that starts under the name of a disabled one would be disabled, too.
"""
import datetime
import json
import os
import re
import sqlite3
import subprocess
import time

import jobs
from connection import connect, connect_to_read, query
from failure import Failure
from files import keep, keep_in, read_if_there, remove_file

FRESH = 60  # seconds after which a worker without a heartbeat counts as dead
QUIET = 15  # seconds: a disabled worker sleeps up to 12 between two heartbeats
START = 60  # seconds that a worker may take to load the models


def run(site, arguments):
    verbs = {"off": off, "on": on, "undo-off": undo_off, "undo-on": off, "is-off": is_off, "was-off": was_off}
    if len(arguments) != 1 or arguments[0] not in verbs:
        raise Failure("scheduler takes one of the words " + ", ".join(verbs))
    return verbs[arguments[0]](site)


def active_workers(site):
    """The names of the workers that have given a heartbeat lately."""
    return sorted(worker["name"] for worker in site.as_owner(read_workers, site) if worker["age"] < FRESH)


def is_off(site):
    return 1 if active_workers(site) else 0


def was_off(site):
    return 0 if read_note(site) else 1


def off(site):
    workers = active_workers(site)
    if not workers:
        print("no worker of the scheduler is running")
        return
    command = command_of(site, "OFF", "stopped")
    write_note(site, stopped=False)
    wait_for_tasks(site, workers)
    run_command(command, "scheduler-off")
    prove_stopped(site)
    site.as_owner(remove_workers, site)
    write_note(site, stopped=True)
    print("stopped: {}".format(", ".join(workers)))


def undo_off(site):
    # What an earlier run left off is not for this one to deal with.
    if (read_note(site) or {}).get("run") == site.run_id:
        on(site)
    else:
        print("the scheduler was not switched off by this run")


def on(site):
    note = read_note(site)
    if not note:
        print("the scheduler was not switched off here")
        return
    site.as_owner(enable, site)
    # The rows of those that were stopped are gone. Where it did not come to that, a row says nothing until it changes.
    if active_workers(site) if note["stopped"] else beats_within(site, QUIET):
        print("workers are running: {}".format(", ".join(active_workers(site))))
    else:
        run_command(command_of(site, "ON", "started"), "scheduler-on")
        if not beats_within(site, START):
            raise Failure("the command scheduler-on has ended, but no worker has given a heartbeat within {} seconds".format(START),
                          "look at the log of what scheduler-on starts")
    remove_file(note_path(site))


def command_of(site, verb, what):
    command = site.environment.get("FLEET_SCHEDULER_" + verb, "")
    if command in ("", ":"):
        raise Failure("workers of the scheduler have to be {}, and the variable scheduler-{} does not say how".format(what, verb.lower()),
                      'scheduler-{} = "sudo systemctl {} SERVICE", in the file of the site'.format(
                          verb.lower(), {"OFF": "stop", "ON": "start"}[verb]))
    return command


def run_command(command, name):
    """In a shell in which each failure ends it. By its environment: an argv can be seen by every user of the host."""
    done = subprocess.run(["/bin/sh", "-ec", 'eval "$COMMAND"'], env=dict(os.environ, COMMAND=command), stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failure("the command {} failed with {}, see above".format(name, done.returncode))


# Waiting.

def wait_for_tasks(site, workers):
    """Until the workers are disabled, know it, and have ended what they did."""
    deadline = time.monotonic() + jobs.limit(site)
    since, quiet = {}, 0
    # A worker that knows it may have taken a task at the same moment: so two looks.
    while quiet < 2:
        seen = site.as_owner(disable, site, workers)
        for name, (changed, heartbeat) in seen["workers"].items():
            if changed or name not in since:
                since[name] = heartbeat
        knows = all(since[name] != heartbeat for name, (_changed, heartbeat) in seen["workers"].items())
        quiet = quiet + 1 if knows and not seen["tasks"] else 0
        if time.monotonic() > deadline:
            site.as_owner(enable, site)
            raise Failure("after {:.0f} seconds the scheduler still runs {}; its workers take tasks again".format(
                jobs.limit(site), ", ".join(seen["tasks"]) or "with workers that do not answer"), "wait for it, or raise the variable jobs-wait")
        time.sleep(1)


def prove_stopped(site):
    if beats_within(site, QUIET):
        raise Failure("the command scheduler-off has ended, but a worker is still running: {}".format(", ".join(active_workers(site))),
                      "ps -ef | grep web2py.py, and stop it in the command scheduler-off")


def beats_within(site, seconds):
    """Does any worker give a heartbeat within so many seconds?"""
    deadline = time.monotonic() + seconds
    before = heartbeats(site)
    while time.monotonic() < deadline:
        time.sleep(1)
        if set(heartbeats(site)) - set(before):
            return True
    return False


def heartbeats(site):
    return [(worker["name"], worker["heartbeat"]) for worker in site.as_owner(read_workers, site)]


# The tables of the scheduler. Each of these runs with the rights of the site's user, and in one transaction.

def connected(by):
    def decorated(function):
        def wrapped(site, *arguments):
            connection = by(site)
            try:
                result = function(connection, *arguments)
                connection.commit()
                return result
            finally:
                connection.close()
        return wrapped
    return decorated


def has_scheduler(connection):
    if isinstance(connection, sqlite3.Connection):
        return bool(query(connection, "select 1 from sqlite_master where name = 'scheduler_worker'"))
    return query(connection, "select to_regclass('scheduler_worker') is not null")[0][0]


@connected(connect_to_read)
def read_workers(connection):
    if not has_scheduler(connection):
        return []
    rows = query(connection, "select worker_name, cast(last_heartbeat as text) from scheduler_worker where last_heartbeat is not null")
    return [{"name": name, "heartbeat": heartbeat, "age": age_of(heartbeat)} for name, heartbeat in rows]


def age_of(heartbeat):
    """Seconds. The application chooses between local time and UTC, and the row does not say which."""
    beat = datetime.datetime.strptime(re.split(r"[.+]", heartbeat)[0], "%Y-%m-%d %H:%M:%S")
    return min(abs((now - beat).total_seconds()) for now in (datetime.datetime.now(), datetime.datetime.utcnow()))


@connected(connect)
def disable(connection, workers):
    """Which of the workers were not disabled, their heartbeats, and the tasks that they run. A heartbeat may overwrite it: so each time."""
    marks = ", ".join(["%s"] * len(workers))
    found = query(connection, "select worker_name, status <> 'DISABLED', cast(last_heartbeat as text) from scheduler_worker where worker_name in ({})"
                  .format(marks), *workers)
    query(connection, "update scheduler_worker set status = 'DISABLED' where status <> 'DISABLED' and worker_name in ({})".format(marks), *workers)
    tasks = query(connection, "select id, function_name from scheduler_task where status = 'RUNNING' and assigned_worker_name in ({})"
                  .format(marks), *workers)
    return {"workers": {name: (bool(changed), heartbeat) for name, changed, heartbeat in found if age_of(heartbeat) < FRESH},
            "tasks": ["task {} ({})".format(*task) for task in tasks]}


@connected(connect)
def enable(connection):
    if has_scheduler(connection):
        query(connection, "update scheduler_worker set status = 'ACTIVE' where status = 'DISABLED'")


@connected(connect)
def remove_workers(connection):
    query(connection, "delete from scheduler_worker")


# The note that workers were stopped, which the state folder keeps.

def note_path(site):
    return os.path.join(site.state, "scheduler.off")


def read_note(site):
    content = read_if_there(note_path(site))
    return json.loads(content.decode()) if content else None


def write_note(site, stopped):
    keep_in(site.state)
    keep(note_path(site), json.dumps({"run": site.run_id, "stopped": stopped}).encode())
