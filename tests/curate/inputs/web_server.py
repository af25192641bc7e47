"""A web server of files in memory that fails on request; it honours ranges and If-Range as servers do."""

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class WebServer:
    """Files by path, and what happens to the next answers.

    Attributes:
        files: path -> bytes.
        etags: path -> ETag; without one there is no mark of the bytes.
        redirects: path -> url.
        faults: for the next requests, in order: "" (none), a status such as "503", or "short" (half of the body).
        before: called with each path before it is answered.
        requests: (path, Range or "", status), in order.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.faults: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self.requests: list[tuple[str, str, int]] = []
        self.has_ranges = self.has_length = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: str, data: bytes, etag: str | None = '"1"') -> str:
        """Serve a file; returns its url."""
        self.files[path] = data
        self.etags.pop(path, None)
        if etag:
            self.etags[path] = etag
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"


def _handler_of(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.before(self.path)
            fault = server.faults.pop(0) if server.faults else ""
            path = self.path.partition("?")[0]
            if fault.isdecimal() or path not in server.files | server.redirects:
                self._answer(int(fault or 404), {}, b"")
            elif path in server.redirects:
                self._answer(302, {"Location": server.redirects[path]}, b"")
            else:
                self._file(path, server.files[path], short=fault == "short")

        def _file(self, path: str, data: bytes, short: bool) -> None:
            headers = {"ETag": server.etags[path]} if path in server.etags else {}
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", headers.get("ETag")) == headers.get("ETag")
            if not found or not server.has_ranges or not same:
                self._answer(200, headers, data, short)
                return
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            if first >= len(data):
                self._answer(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
                return
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self._answer(206, headers, data[first : last + 1], short)

        def _answer(self, status: int, headers: dict[str, str], body: bytes, short: bool = False) -> None:
            server.requests.append((self.path, self.headers.get("Range", ""), status))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if server.has_length:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if short else body)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler
