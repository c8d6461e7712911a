#!/usr/bin/env python3
"""A shop that takes orders and lists them. nginx is in front of it; PGHOST and its like say where the database is."""

from pathlib import Path
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

import psycopg2

# Read at the start: what runs is this release until it is restarted, whatever is checked out meanwhile.
VERSION, LIST, INSERT = (Path(__file__).with_name(name).read_text().strip() for name in ("VERSION", "list.sql", "insert.sql"))


def shop(environ, respond):
    try:
        with psycopg2.connect("") as database, database.cursor() as cursor:
            if environ["REQUEST_METHOD"] == "POST":
                form = parse_qs(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)).decode())
                cursor.execute(INSERT, {"customer": "somebody"} | {name: values[0] for name, values in form.items()})
            cursor.execute(LIST)
            status, lines = "200 OK", [" ".join(map(str, row)) for row in cursor.fetchall()]
    except (psycopg2.Error, KeyError) as error:
        status, lines = "500 Internal Server Error", [repr(error)]
    respond(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{line}\n".encode() for line in [f"shop {VERSION}", *lines]]


if __name__ == "__main__":
    make_server("127.0.0.1", 8000, shop).serve_forever()
