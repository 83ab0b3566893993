"""A web server on this machine that plays a script, for the tests of downloads."""

import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 60
"""Longer than any client here waits; a test that ends sooner ends the waiting."""


class Mirror:
    """Plays for each request of a path the next act of its script, the last one for ever; 404 without a script."""

    def __init__(self):
        self.script = defaultdict(lambda: [refuse(404)])
        self.asked = []
        self.arrival = threading.Condition()
        self.over = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"mirror": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def take(self, path, headers):
        """Count a request, and say which act it meets."""
        with self.arrival:
            self.asked.append((path, headers))
            self.arrival.notify_all()
            acts = self.script[path]
            return acts.pop(0) if len(acts) > 1 else acts[0]

    def await_requests(self, number):
        """A client may have hung up before its request is read: wait for so many, or for a minute."""
        with self.arrival:
            self.arrival.wait_for(lambda: len(self.asked) >= number, SECONDS)
        return len(self.asked)

    def ranges(self, path=None):
        """The Range headers so far, None where there was none."""
        return [headers["Range"] for asked, headers in self.asked if path in (None, asked)]


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self):
        act = self.mirror.take(self.path.lstrip("/"), self.headers)
        try:
            act(self)
        except OSError:  # the client has hung up
            self.close_connection = True

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def send(body, *, until=None, stall=False, ranges=True, version='"1"', named="ETag"):
    """Send ``body`` as servers do, but break off (or fall silent) after the byte ``until`` of the whole."""

    def act(handler):
        start, length = _start(handler, version) if ranges else 0, len(body)
        if start > length:
            handler.answer(416, Content_Range=f"bytes */{length}")
            return
        headers = {"Content_Length": length - start} | ({named.replace("-", "_"): version} if version else {})
        if start:
            headers["Content_Range"] = f"bytes {start}-{length - 1}/{length}"
        handler.answer(206 if start else 200, body[start:until], **headers)
        if stall:
            handler.mirror.over.wait(SECONDS)

    return act


def _start(handler, version):
    wanted, condition = handler.headers["Range"], handler.headers["If-Range"]
    if wanted is None or condition not in (None, version):
        return 0
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


def refuse(status):
    return lambda handler: handler.answer(status, b"no")


def redirect(location, body=b""):
    return lambda handler: handler.answer(302, body, Location=location)


def silent(handler):
    """Take the request and say nothing."""
    handler.mirror.over.wait(SECONDS)


def endless(status, **headers):
    """A body without an end, of which nobody says how long it is."""

    def act(handler):
        handler.answer(status, **headers)
        while not handler.mirror.over.is_set():
            handler.wfile.write(bytes(1 << 16))

    return act
