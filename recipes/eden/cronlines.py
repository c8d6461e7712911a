"""Which lines of a system crontab run a given web2py.

A job that is overlooked runs old code against a schema in change, and says nothing; a line too many is only off for a while. So every
word of a command counts that leads into web2py's folder, by whatever name: a link, a variable of the crontab, `~`, or a relative name,
because cron starts in HOME.
"""
import os
import pwd
import re

ASSIGNMENT = re.compile(r"""\s*["']?(\w+)["']?\s*=\s*["']?(.*?)["']?\s*\Z""")
BETWEEN_WORDS = re.compile(r"""[\s'"`;|&()<>=:,]+""")
VARIABLE = re.compile(r"\$\{?(\w+)\}?")


def job_lines(lines, web2py):
    """The indices of the lines with a job of the web2py in that folder."""
    folder = os.path.realpath(web2py)
    variables = {}
    found = []
    for number, line in enumerate(lines):
        assignment = ASSIGNMENT.match(line)
        if assignment:
            variables[assignment.group(1)] = assignment.group(2)
        elif leads_into(folder, *login_and_command(line), variables):
            found.append(number)
    return found


def login_and_command(line):
    """`17 * * * * LOGIN COMMAND` or `@daily LOGIN COMMAND`; of a comment or an empty line the command is empty."""
    before = 1 if line.lstrip().startswith("@") else 5
    fields = line.split(None, before + 1)
    if line.lstrip().startswith("#") or len(fields) < before + 2:
        return "", ""
    return fields[before], fields[before + 1]


def leads_into(folder, login, command, variables):
    home = variables.get("HOME") or home_of(login)
    expanded = VARIABLE.sub(lambda name: dict(variables, HOME=home).get(name.group(1), name.group(0)), command)
    return any(is_inside(folder, os.path.join(home, path_of(word, home))) for word in BETWEEN_WORDS.split(expanded) if is_path(word, home))


def is_path(word, home):
    return word.startswith(("/", "~")) or bool(word) and os.path.exists(os.path.join(home, word))


def path_of(word, home):
    return home + word[1:] if word == "~" or word.startswith("~/") else os.path.expanduser(word)


def is_inside(folder, path):
    return (os.path.realpath(path) + "/").startswith(folder + "/")


def home_of(login):
    try:
        return pwd.getpwnam(login).pw_dir
    except KeyError:
        return "/"
