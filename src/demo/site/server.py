"""The demo's site: one page of notes from a database. The release is what lies beside this file when the server starts."""

import fcntl
import html
import http.server
import json
import os
import pathlib
import socketserver
import sqlite3

CODE = pathlib.Path(__file__).resolve().parent
RUN = CODE.parent / "run"
CONFIG = json.loads((CODE.parent / "site.json").read_text())
RELEASE = (CODE / "VERSION").read_text().strip()
QUERY = (CODE / "notes.sql").read_text()
SCHEMA = max(int(path.name.split("-")[0]) for path in (CODE / "migrations").glob("*.sql"))


class Broken(Exception):
    """The database is not the one that this release was written for."""


def notes():
    database = sqlite3.connect(pathlib.Path(CONFIG["database"]).as_uri() + "?mode=ro", uri=True, timeout=5)
    try:
        (version,) = database.execute("SELECT version FROM schema").fetchone()
        if version != SCHEMA:
            raise Broken("release %s needs schema %d, the database has schema %d" % (RELEASE, SCHEMA, version))
        return database.execute(QUERY).fetchall()
    finally:
        database.close()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        # The health check looks behind the maintenance page.
        if self.path != "/health" and (CODE / "maintenance.flag").exists():
            return self.answer(503, "Closed for maintenance", "<p>Back in a minute.</p>", {"Retry-After": "60"})
        try:
            items = "".join("<li>%s</li>\n" % html.escape(" - ".join(map(str, row))) for row in notes())
        except (Broken, sqlite3.Error) as error:
            return self.answer(500, "Broken", "<p>%s</p>" % html.escape(str(error)))
        return self.answer(200, "Notes on %s" % CONFIG["name"], "<p>release %s</p>\n<ul>\n%s</ul>" % (RELEASE, items))

    def answer(self, status, title, body, headers=None):
        page = "<!doctype html>\n<title>%s</title>\n<h1>%s</h1>\n%s\n" % (title, title, body)
        content = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        # Not HTTPServer's own, which asks the resolver for the name of 127.0.0.1: that may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address


def listen():
    """Binds the configured port. 0: the one it had before, if nobody took it, else one that the kernel picks."""
    ports = [CONFIG["port"]]
    if ports == [0] and (RUN / "port").exists():
        ports.insert(0, int((RUN / "port").read_text()))
    for port in ports:
        try:
            return Server(("127.0.0.1", port), Page)
        except OSError:
            if port == ports[-1]:
                raise


def write(name, value):
    (RUN / (name + ".new")).write_text(str(value))
    os.replace(RUN / (name + ".new"), RUN / name)


# Held until this process ends. The server before may still be about to: whoever killed it does not wait for that.
lock = open(RUN / "lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
server = listen()
write("port", server.server_address[1])
write("pid", os.getpid())
server.serve_forever()
