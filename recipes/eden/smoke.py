"""The smoke list: pages of the site, asked of web2py's own WSGI application without a web server."""
import io
import os
import re
import sys
from urllib.parse import unquote, urlsplit

from eden_site import Failure, PlainUnpickler

TICKET = re.compile(r"ticket[:=/]+\w+/([\w.\-]+)")


def smoke(site):
    """Asks for every page of EDEN_SMOKE: PATH, or STATUS:PATH where another status than success or a redirect is right."""
    pages = site.words("EDEN_SMOKE")
    if not pages:
        print("no page in the smoke list (variable smoke)")
        return
    known = site.as_owner(error_files, site.path("errors"))
    failed = []
    for page, status, text in site.as_owner(ask_all, site.web2py_folder, site.environment.get("EDEN_URL") or site.config.public_url, pages):
        print("{} {}".format(status, page))
        if not is_expected(page, status):
            failed.append("{} answers {}: {}".format(page, status, site.mask(text)))
    for name in sorted(set(site.as_owner(error_files, site.path("errors"))) - set(known)):
        failed.append("ticket {}: {}".format(name, site.mask(site.as_owner(error_of, site.path("errors", name)))))
    if failed:
        raise Failure("{} of the smoke list failed\n{}".format(len(failed), "\n".join(failed)), "less {}".format(site.path("errors")))


def is_expected(page, status):
    expected = re.match(r"(\d{3}):", page)
    return status == int(expected.group(1)) if expected else status < 500 and status != 404


def error_files(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []


def error_of(path):
    """The last line of a ticket's traceback."""
    try:
        with open(path, "rb") as ticket:
            return PlainUnpickler(ticket).load()["traceback"].strip().splitlines()[-1]
    except Exception as error:  # a ticket may hold anything, and it only explains
        return "its text cannot be read: {}".format(type(error).__name__)


def ask_all(web2py, url, pages):
    """[(page, status, first text of the answer)]"""
    sys.stdout = sys.stderr
    os.chdir(web2py)
    sys.path.insert(0, web2py)
    sys.argv = ["web2py.py"]
    from gluon.main import wsgibase
    return [(page,) + ask(wsgibase, urlsplit(url or "http://localhost"), re.sub(r"^\d{3}:", "", page)) for page in pages]


def ask(application, url, page):
    path, _, query = page.partition("?")
    answer = {}
    request = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": unquote(path), "QUERY_STRING": query, "REQUEST_URI": page,
        "SERVER_NAME": url.hostname or "localhost", "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
        "HTTP_HOST": url.netloc or "localhost", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_USER_AGENT": "fleet",
        "wsgi.version": (1, 0), "wsgi.url_scheme": url.scheme or "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
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
