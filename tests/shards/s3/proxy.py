"""A network that fails on request: an HTTP proxy before the S3 server, with faults that are chosen by a test."""

import contextlib
import http.client
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Kind = Literal[
    "503", "429", "403", "reset", "reset in body", "short body", "wrong length", "slow", "lost reply", "silence"
]


@dataclass
class Fault:
    """What happens to the next requests of a method whose path has a part.

    Attributes:
        kind: 503, 429, 403: this status, and the server sees nothing. reset: of the connection, and the server sees
            nothing. reset in body: half of the promised body, then a reset. short body: the same, but closed politely.
            wrong length: half of the body, and the length says so. slow: 2 bytes/s. lost reply: the server does it,
            the connection is reset. silence: no answer.
        method: PUT, GET, ….
        part: of the path and query.
        times: requests that it happens to.
    """

    kind: Kind
    method: str
    part: str = ""
    times: int = 1


@dataclass
class Log:
    """Requests in order: method, path, and what was done to them."""

    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def count(self, method: str, part: str) -> int:
        """How often this was asked for."""
        return sum(method == m and part in path for m, path, _ in self.requests)


class Proxy:
    """Listens on loopback and forwards to a port of this machine."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.faults: list[Fault] = []
        self.log = Log()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self, *faults: Fault) -> None:
        """Forget the log; from now on these faults."""
        with self._lock:
            self.faults, self.log = list(faults), Log()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self, method: str, path: str) -> str:
        """The fault of a request, "" for none."""
        with self._lock:
            kind = ""
            for fault in self.faults:
                if fault.times and fault.method == method and fault.part in path:
                    fault.times -= 1
                    kind = fault.kind
                    break
            self.log.requests.append((method, path, kind))
            return kind


def _handler_of(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = proxy.next_fault(self.command, self.path)
            if kind.isdecimal():
                self._answer(int(kind), [], b"<Error><Code>SlowDown</Code></Error>")
            elif kind == "silence":
                time.sleep(20)
            elif kind == "reset":
                self._reset()
            else:
                status, headers, data = self._forward(body)
                self._faulty(kind, status, headers, data)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            upstream = http.client.HTTPConnection("127.0.0.1", proxy.upstream_port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            upstream.request(self.command, self.path, body, headers)
            reply = upstream.getresponse()
            data = reply.read()
            upstream.close()
            return reply.status, reply.getheaders(), data

        def _faulty(self, kind: str, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            if kind == "lost reply":
                self._reset()
            elif kind == "reset in body":
                self._head(status, headers, len(data))
                self._send(data[: len(data) // 2])
                self._reset()
            elif kind == "short body":
                self._head(status, headers, len(data))
                self._send(data[: len(data) // 2])
                self.close_connection = True
            elif kind == "wrong length":
                self._answer(status, headers, data[: len(data) // 2])
            elif kind == "slow":
                self._head(status, headers, len(data))
                for start in range(0, len(data), 1):
                    self._send(data[start : start + 1])
                    time.sleep(0.5)
            else:
                self._answer(status, headers, data)

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self._head(status, headers, len(data))
            if self.command != "HEAD":
                self._send(data)

        def _head(self, status: int, headers: list[tuple[str, str]], size: int) -> None:
            self.send_response_only(status)
            lengths = [value for name, value in headers if name.lower() == "content-length"]
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", lengths[0] if self.command == "HEAD" and lengths else str(size))
            with contextlib.suppress(OSError):
                self.end_headers()

        def _send(self, data: bytes) -> None:
            try:
                self.wfile.write(data)
                self.wfile.flush()
            except OSError:
                self.close_connection = True
                raise

        def _reset(self) -> None:
            """RST instead of FIN, as a machine that restarts sends it."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):  # the client is gone, or we reset it
                super().handle()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
