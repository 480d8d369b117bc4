#!/usr/bin/python3
"""A small HTTP service whose requests are followed into the database and back.

    psql -d shop -f examples/orders_service.sql
    python3 examples/orders_service.py 8080 'dbname=shop user=shop_service'

    POST /orders {"customer": "alice", "amount": 42}
    GET /orders/{id}

It needs psycopg 3 (Debian: python3-psycopg) and nothing else.  Everything that
has to do with fraiseql_obs is in answer() and record().
"""

import json
import queue
import re
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
from psycopg.types.json import Jsonb

# What a request may say about its trace; nothing else goes to the database.
TRACE_HEADERS = ("traceparent", "tracestate", "X-Trace-ID", "X-Request-ID")
CONNECTIONS = 4
MOST_BYTES = 65536


class Refused(Exception):
    """An answer that is no success: status and message."""


class Pool:
    """As many connections as requests that are worked on at once."""

    def __init__(self, conninfo):
        self.conninfo = conninfo
        self.free = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self.free.put(None)

    @contextmanager
    def connection(self):
        connection = self.free.get()
        try:
            if connection is None or connection.closed:
                connection = psycopg.connect(self.conninfo, autocommit=True)
            yield connection
        finally:
            self.free.put(connection)


def trace_headers(headers):
    """The request's headers as fraiseql_obs takes them: lists of lines.

    JSON in PostgreSQL has no NUL; what has one is no valid header anyway.
    """
    lines = {name: headers.get_all(name, []) for name in TRACE_HEADERS}
    return {name: [line for line in found if "\0" not in line]
            for name, found in lines.items()}


def create_order(connection, body):
    try:
        order = json.loads(body)
        customer, amount = str(order["customer"]), float(order["amount"])
        customer.encode()  # half a character is none
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise Refused(400, "an order is {\"customer\": ..., \"amount\": ...}") from None
    connection.execute("SELECT set_config('fraiseql_obs.user_id', %s, true)", [customer])
    (number,) = connection.execute(
        "INSERT INTO orders (customer, amount) VALUES (%s, %s) RETURNING id",
        [customer, amount]).fetchone()
    connection.execute(
        "SELECT fraiseql_obs.log_operation('create', 'Order', %s, new_data => %s)",
        [str(number), Jsonb({"customer": customer, "amount": amount})])
    return 201, {"id": number}


def read_order(connection, number):
    row = connection.execute(
        "SELECT customer, amount::float8 FROM orders WHERE id = %s", [number]).fetchone()
    if row is None:
        raise Refused(404, "no such order")
    return 200, {"id": number, "customer": row[0], "amount": row[1]}


def answer(connection, operation, headers, work):
    """Does the work of a request, which is one transaction.

    Returns status, JSON and headers.  The latter are made first, because no
    statement can be run any more when one has failed.
    """
    traced = {}
    try:
        with connection.transaction():
            connection.execute(
                "SELECT fraiseql_obs.set_trace_context(%s),"
                " set_config('fraiseql_obs.operation_name', %s, true)",
                [Jsonb(trace_headers(headers)), operation])
            (traced,) = connection.execute(
                "SELECT fraiseql_obs.inject_trace_context()").fetchone()
            status, result = work(connection)
    except Refused as refused:
        status, result = refused.args[0], {"error": refused.args[1]}
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        status, result = 422, {"error": error.diag.message_primary or "invalid values"}
    except psycopg.Error as error:
        print(f"{operation}: {error}", file=sys.stderr)
        status, result = 500, {"error": "internal error"}
    return status, result, traced


def record(connection, method, route, status, seconds):
    """Counts a request, also one that has failed."""
    try:
        connection.execute("SELECT fraiseql_obs.record_http_request(%s, %s, %s, %s)",
                           [method, route, status, seconds])
    except psycopg.Error as error:
        print(f"{route}: not recorded: {error}", file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def find(self):
        """The route, which has no values in it; the operation; and its work."""
        found = re.fullmatch(r"/orders/([0-9]{1,18})", self.path)
        if self.command == "GET" and found:
            return ("/orders/{id}", "getOrder",
                    lambda connection: read_order(connection, int(found[1])))
        if self.command == "POST" and self.path == "/orders":
            body = self.read_body()
            return ("/orders", "createOrder",
                    lambda connection: create_order(connection, body))
        return None

    def read_body(self):
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MOST_BYTES:
            self.close_connection = True
            return b""
        return self.rfile.read(int(length))

    def serve(self):
        began = time.monotonic()
        found = self.find()
        if found is None:
            self.close_connection = True
            self.send(404, {"error": "no such page"}, {})
            return
        route, operation, work = found
        try:
            with self.server.pool.connection() as connection:
                status, result, traced = answer(connection, operation, self.headers, work)
                record(connection, self.command, route, status, time.monotonic() - began)
        except psycopg.Error as error:
            print(f"{operation}: {error}", file=sys.stderr)
            status, result, traced = 503, {"error": "no database"}, {}
        self.send(status, result, traced)

    do_GET = do_POST = serve

    def send(self, status, result, headers):
        body = json.dumps(result).encode() + b"\n"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """No log of requests: the database has them."""


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.pool = Pool(sys.argv[2] if len(sys.argv) > 2 else "")
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
