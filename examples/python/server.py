"""A greeter: a small HTTP service that needs nothing but Python's standard library.

PORT says where to listen (on 127.0.0.1), GREETING what to say. SIGTERM finishes the requests that have begun, closes
the connections that are idle, and ends with status 0. Whoever is in front should have stopped sending by then: the
gateway drains a replica before it sends SIGTERM.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RELEASE = os.environ.get("SHIPSHAPE_RELEASE", "none")
GREETING = os.environ.get("GREETING", "Hello")

# Idle connections live longer than a proxy in front keeps them, so that the proxy is the one to close them.
IDLE_SECONDS = 120
# How long a stop waits for requests that have begun: less than the manifest's grace period.
STOP_SECONDS = 20


def greet(query):
    """The service itself."""
    name = query.get("name", ["world"])[0]
    return f"{GREETING}, {name}!\n"


def log(event, **fields):
    print(json.dumps({"event": event, "release": RELEASE, **fields}), flush=True)


class Connections:
    """Who is idle and who is busy, so that a stop closes the one and waits for the other."""

    def __init__(self):
        self.changed = threading.Condition()
        self.idle = set()
        self.busy = set()
        self.stopping = False

    def rest(self, connection):
        with self.changed:
            self.busy.discard(connection)
            self.idle.add(connection)
            if self.stopping:
                self.hang_up(connection)
            self.changed.notify_all()

    def work(self, connection):
        with self.changed:
            self.idle.discard(connection)
            self.busy.add(connection)

    def forget(self, connection):
        with self.changed:
            self.idle.discard(connection)
            self.busy.discard(connection)
            self.changed.notify_all()

    def stop(self, seconds):
        """Lets every connection end; says whether all did in time."""
        with self.changed:
            self.stopping = True
            for connection in self.idle:
                self.hang_up(connection)
            return self.changed.wait_for(lambda: not self.idle and not self.busy, timeout=seconds)

    @staticmethod
    def hang_up(connection):
        # Only the reading side: a request that has arrived already is still read and answered.
        try:
            connection.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # the client was quicker


class Greeter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive
    timeout = IDLE_SECONDS
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True

    def handle(self):
        connections.rest(self.connection)
        try:
            super().handle()
        except ConnectionError:
            pass  # the client left
        finally:
            connections.forget(self.connection)

    def handle_one_request(self):
        super().handle_one_request()
        if not self.close_connection:
            connections.rest(self.connection)

    def parse_request(self):
        connections.work(self.connection)
        return super().parse_request()

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/healthz":
            if connections.stopping:
                self.answer(503, "stopping\n")
            else:
                self.answer(200, "ok\n")
        elif url.path == "/":
            try:
                self.answer(200, greet(parse_qs(url.query)))
            except Exception as error:  # a bug of this release is answered, and told
                log("error", path=url.path, error=repr(error))
                self.answer(500, "something went wrong\n")
        else:
            self.answer(404, "there is no such page\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Release", RELEASE)
        if connections.stopping:
            self.send_header("Connection", "close")  # the base class closes after it, too
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """No line for each request: the gateway counts them."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True  # the stop waits by itself, with a limit


def main():
    try:
        port = int(os.environ["PORT"])
    except (KeyError, ValueError):
        print("PORT must be the number of the port to listen on, for example PORT=8000", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = Server(("127.0.0.1", port), Greeter)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    log("start", port=server.server_port)
    stop.wait()
    begun = time.monotonic()
    finished = connections.stop(STOP_SECONDS)
    server.shutdown()
    server.server_close()
    # Connections that were taken in meanwhile.
    finished = connections.stop(1) and finished
    log("stop", finished=finished, after_ms=round((time.monotonic() - begun) * 1000))
    return 0 if finished else 1


connections = Connections()

if __name__ == "__main__":
    sys.exit(main())
