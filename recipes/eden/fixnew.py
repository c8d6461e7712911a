"""The text of a new fix for a finding of the preview: what is known of it is filled in, and what is not fails until somebody writes it."""
import os
import re
import subprocess
import sys
import tempfile

from eden_site import HELPER
from failure import Failure

FINDING = re.compile(r"(?:block|warning|notice) (\S+)((?: \w+=\S+)*) -- (.*)")
RENAMED = re.compile(r"probably renamed to (\w+)")


def text(site, finding, revision, numbers):
    """The first line is the name of the file, the others are the file."""
    said = preview(site, revision).get(finding)
    if said is None:
        raise Failure("the preview of {} has no finding {}".format(revision, finding), "fleet {} preview".format(site.name or "SITE"))
    table, _, column = finding.partition(".")
    new = RENAMED.search(said)
    number = max([int(number) for number in numbers], default=0) + 1
    about = ["# fleet: handles {}".format(finding), "# {}: {}".format(finding, said)]
    if new and column:
        name, work = "rename-{}-{}".format(table, column), ['rename_column("{}", "{}", "{}")'.format(table, column, new.group(1))]
    elif new:
        name, work = "rename-{}".format(table), ['rename_table("{}", "{}")'.format(table, new.group(1))]
    else:
        name = "keep-{}".format(finding.replace(".", "-"))
        work = ["# Runs before the migration, in the old schema. For example, with %s for a value:",
                '# sql("update {} set comments = ... where {} is not null")'.format(table, column or "..."),
                'raise NotImplementedError("say what becomes of the values of {}")'.format(finding)]
    return "\n".join(["{:03}-{}.py".format(number, name)] + about + work) + "\n"


def preview(site, revision):
    """{finding: its text} of the preview, run anew: the findings of a run are not kept on the host."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as report:
        done = subprocess.run([sys.executable, os.path.join(HELPER, "eden.py"), "preview", revision],
                              env=dict(site.environment, FLEET_FINDINGS=report.name), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failure("the preview of {} failed, see above".format(revision), "fleet {} preview".format(site.name or "SITE"))
        found = [FINDING.match(line) for line in report.read().splitlines()]
    return {match.group(1): match.group(3) for match in found if match}
