"""The smoke list: pages of the site, asked of web2py's own WSGI application without a web server."""
import io
import os
import pickle
import re
import sys
from urllib.parse import unquote, urlsplit

from failure import Failure, counted
from config import be_silent
from connection import require_database
from eden_site import hide_own_modules

STATUS = re.compile(r"(\d{3}):")


def smoke(site):
    """Asks for every page of EDEN_SMOKE: PATH, or STATUS:PATH where that status alone is right."""
    pages = site.words("EDEN_SMOKE")
    if not pages:
        print("no page in the smoke list (variable smoke)")
        return
    require_database(site)
    url = site.environment.get("EDEN_URL") or site.config.public_url or "http://localhost"
    failed = []
    for page, status, text, tickets in site.as_owner(ask_all, site.web2py_folder, site.path("errors"), url, pages):
        print("{} {}".format(status, page))
        if tickets or not is_expected(page, status):
            failed.append(site.mask("{} answers {}: {}".format(page, status, "; ".join(tickets) or text)))
    if failed:
        raise Failure("{} of {} failed:\n{}".format(len(failed), counted(len(pages), "page"), "\n".join(failed)), "ls -t {}".format(site.path("errors")))


def is_expected(page, status):
    expected = STATUS.match(page)
    # As the check from outside: a page that only says what was wrong with the request does not work.
    return status == int(expected.group(1)) if expected else 200 <= status < 400 or status in (401, 403)


def ask_all(web2py, errors, url, pages):
    """[(page, status, first text of the answer, [what its tickets say])]"""
    be_silent()  # a ticket says what was wrong
    hide_own_modules()
    os.chdir(web2py)
    sys.path.insert(0, web2py)
    sys.argv = ["web2py.py"]
    from gluon.main import wsgibase
    answers = []
    for page in pages:
        known = files_in(errors)
        status, text = ask(wsgibase, urlsplit(url), STATUS.sub("", page))
        answers.append((page, status, text, [ticket(errors, name) for name in sorted(files_in(errors) - known)]))
    return answers


def files_in(folder):
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def ticket(folder, name):
    """The exception that a ticket is of, with the ticket's name."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            said = exception_of(pickle.load(file)["traceback"])
    except Exception as error:  # a ticket may hold anything, and it only explains
        said = "its text cannot be read ({})".format(type(error).__name__)
    return "{} (ticket {})".format(said, name)


def exception_of(traceback):
    """The line that names the exception. What an exception says may have lines of its own: psycopg2's ends in the statement, and a caret."""
    lines = traceback.strip().splitlines()
    headers = [number for number, line in enumerate(lines) if line.startswith("Traceback (")]
    return next((line for line in lines[headers[-1] + 1 if headers else 0:] if not line.startswith(" ")), lines[-1])


def ask(application, url, page):
    path, _, query = page.partition("?")
    answer = {}
    request = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": unquote(path), "QUERY_STRING": query, "REQUEST_URI": page,
        "SERVER_NAME": url.hostname, "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
        "HTTP_HOST": url.netloc, "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_USER_AGENT": "fleet",
        "wsgi.version": (1, 0), "wsgi.url_scheme": url.scheme, "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
        "wsgi.multithread": False, "wsgi.multiprocess": False, "wsgi.run_once": True,
    }

    def start_response(status, headers, _error=None):
        answer["status"] = int(status.split()[0])
        return lambda _data: None

    body = application(request, start_response)
    try:
        text = b"".join(part if isinstance(part, bytes) else str(part).encode() for part in body or [])
    finally:
        getattr(body, "close", lambda: None)()
    return answer["status"], " ".join(re.sub(r"<[^>]*>", " ", text.decode("utf-8", "replace")).split())[:200]
