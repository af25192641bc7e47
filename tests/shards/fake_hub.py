"""A FAKE of the Hugging Face Hub on loopback: the endpoints that pushing uses, with their checks, and nothing else.

It is written from what huggingface_hub 2.4 sends and reads; it proves our side of the protocol, not the Hub's.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LFS = (".tar", ".parquet", ".arrow")


class FakeHub:
    """One repository per id: a list of commits, each a full set of files."""

    def __init__(self) -> None:
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.fail_commit = 0  # the commit with this number answers 500
        self.before_commit: list[Any] = []  # called once each, before a commit is looked at
        self.endpoint = ""

    def make(self, repo: str) -> None:
        self.commits[repo] = [("0" * 40, {".gitattributes": b"*.tar filter=lfs\n"})]

    def head(self, repo: str) -> tuple[str, dict[str, bytes]]:
        return self.commits[repo][-1]

    def add_commit(self, repo: str, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(f"{self.head(repo)[0]}{sorted(files)}".encode()).hexdigest()
        self.commits[repo].append((oid, files))
        return oid

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if method == "PUT" and path.startswith("/upload/"):
            oid = path.removeprefix("/upload/")
            if hashlib.sha256(body).hexdigest() != oid:
                return 400, {"error": "bytes are not those of the oid"}
            self.blobs[oid] = body
            self.uploads.append(oid)
            return 200, {}
        data = json.loads(body) if body and "/commit/" not in path else {}
        if path == "/api/repos/create":
            repo = f"{data['organization']}/{data['name']}"
            if repo in self.commits:
                return 409, {"error": "exists", "url": f"{self.endpoint}/datasets/{repo}"}
            self.make(repo)
            return 200, {"url": f"{self.endpoint}/datasets/{repo}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        found = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/.]+)(?:\.git)?/(\w+)/(.+)", path)
        if not found or found[1] not in self.commits:
            return 404, {"error": "Repository not found"}
        repo, verb = found[1], found[2]
        if verb == "revision":
            oid, files = self.head(repo)
            return 200, {"id": repo, "sha": oid, "siblings": [{"rfilename": name} for name in sorted(files)]}
        if verb == "preupload":
            return 200, {"files": [self._preupload(repo, file["path"]) for file in data["files"]]}
        if verb == "info":
            return 200, {"transfer": "basic", "objects": [self._batch(item) for item in data["objects"]]}
        return self._commit(repo, body)

    def _preupload(self, repo: str, path: str) -> dict[str, Any]:
        content = self.head(repo)[1].get(path)
        mode = "lfs" if path.endswith(LFS) else "regular"
        oid = None
        if content is not None:
            git = hashlib.sha1(b"blob %d\0" % len(content) + content)
            oid = (hashlib.sha256(content) if mode == "lfs" else git).hexdigest()
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _batch(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["oid"] in self.blobs:
            return item
        return item | {"actions": {"upload": {"href": f"{self.endpoint}/upload/{item['oid']}"}}}

    def _commit(self, repo: str, body: bytes) -> tuple[int, Any]:
        if self.before_commit:
            self.before_commit.pop()()
        if self.fail_commit and len(self.commits[repo]) == self.fail_commit:
            self.fail_commit = 0
            return 500, {"error": "Internal Error"}
        head, old = self.head(repo)
        files = dict(old)
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header" and value["parentCommit"] != head:
                return 412, {"error": "A commit has happened since."}
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if item["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]  # a KeyError is a 500: the file was never sent
            if item["key"] == "deletedFile":
                del files[value["path"]]
        oid = self.add_commit(repo, files)
        return 200, {"commitUrl": f"{self.endpoint}/datasets/{repo}/commit/{oid}", "commitOid": oid}


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """A fake Hub on a free port of loopback."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = hub.answer(self.command, self.path.partition("?")[0], body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _do

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
