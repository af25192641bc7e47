"""Files of web servers: http and https only, over addresses that were looked at, redirects included.

The standard library's client is used rather than obstore's, which follows redirects to wherever they lead.
"""

import http.client
import ipaddress
import re
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from curate.inputs.remote import CHUNK_BYTES, RANGE_BYTES, RemoteState, changed_source
from curate.inputs.uris import WEB_SCHEMES
from shards.errors import MediaError, StoreError
from shards.storage.remote import RemoteConfig

_MAX_REDIRECTS = 5
_CODES = {401: "no_permission", 403: "no_permission", 404: "missing", 410: "missing"}
_AGAIN = (408, 425, 429)  # and 5xx: worth another attempt
# Where clouds tell a machine its secrets, besides 169.254.0.0/16.
_METADATA = {
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
}


class WebInput:
    """A file behind an http or https url."""

    def __init__(self, uri: str, patience: RemoteConfig, private_hosts: bool) -> None:
        self.uri, self.patience, self.private_hosts = uri, patience, private_hosts

    def state(self) -> RemoteState:
        """See RemoteInput. Asks for one byte: a signed url may allow GET and nothing else."""
        with self._open({"Range": "bytes=0-0"}) as answer:
            return self._state_of(answer)

    def read(self, offset: int, state: RemoteState) -> Iterator[bytes]:
        """See RemoteInput. Without a mark of the bytes all is read from the start, in one answer."""
        headers = {}
        if state.can_resume:
            headers["Range"] = f"bytes={offset}-{min(offset + RANGE_BYTES, state.size_bytes) - 1}"
            strong = state.etag and not state.etag.startswith("W/")
            if strong or state.changed:
                headers["If-Range"] = str(state.etag if strong else state.changed)
        with self._open(headers) as answer:
            if self._state_of(answer) != state:
                raise changed_source(self.uri)
            start = _start_of(answer)
            if start > offset:
                raise StoreError(f"{self.uri} answers from byte {start}; byte {offset} was asked for; check the server")
            skip = offset - start  # a server without ranges sends all from the start
            ends = time.monotonic() + self.patience.timeout_s
            while data := answer.read1(CHUNK_BYTES):
                yield data[skip:]
                skip = max(0, skip - len(data))
                if time.monotonic() > ends:
                    raise StoreError(f"{self.uri} sends too slowly; see REELMILL_STORE_TIMEOUT_S; try again later")

    def _state_of(self, answer: Any) -> RemoteState:
        total = answer.headers.get("Content-Length")
        if answer.status in (206, 416):
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if not (total or "").isdecimal():
            told = f"{self.uri} does not say its size; servers that do are allowed; copy the file first"
            raise MediaError(told, "unknown_size")
        return RemoteState(int(total), answer.headers.get("ETag"), answer.headers.get("Last-Modified"))

    @contextmanager
    def _open(self, headers: dict[str, str]) -> Iterator[Any]:
        own = {"Accept-Encoding": "identity", "User-Agent": "reelmill", **headers}
        try:
            refuse_host(self.uri, self.private_hosts)
            request = urllib.request.Request(self.uri, headers=own)
            with self._opener().open(request, timeout=self.patience.read_timeout_s) as answer:
                yield answer
        except HTTPError as error:
            with error:
                if error.code == 416 and self._state_of(error).size_bytes == 0:
                    yield error  # an empty file has no first byte
                else:
                    raise self._refused(error) from error
        except URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                told = f"{self.uri} has no certificate to trust; {error.reason}; correct the uri"
                raise MediaError(told, "no_permission") from error
            raise StoreError(f"reading {self.uri} failed; {error.reason}; check the network") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, http.client.InvalidURL):
                raise MediaError(f"{self.uri} is no url; {error}; encode it as urls are", "bad_name") from error
            raise StoreError(f"reading {self.uri} failed; {error!r}; check the network") from error
        except ValueError as error:
            raise MediaError(f"{self.uri} is no url; {error}; correct it", "bad_name") from error

    def _refused(self, error: HTTPError) -> Exception:
        if error.code in _AGAIN or error.code >= 500:
            return StoreError(f"{self.uri} answers {error.code}; 200 is needed; try again later")
        if error.code in (412, 416):
            return changed_source(self.uri)
        told = f"{self.uri} answers {error.code} {error.reason}; 200 is needed; correct the uri"
        return MediaError(told, _CODES.get(error.code, "refused"))

    def _opener(self) -> urllib.request.OpenerDirector:
        opener = urllib.request.OpenerDirector()  # bare: no handler of file:, ftp: or data:
        handlers = (
            urllib.request.ProxyHandler(),
            _Http(self.private_hosts),
            _Https(self.private_hosts),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            _Redirects(self.private_hosts),
        )
        for handler in handlers:
            opener.add_handler(handler)
        return opener


def refuse_address(address: str, what: str, private_hosts: bool) -> None:
    """Refuse addresses that no list of videos has any business with.

    Raises:
        MediaError: `refused_address`.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA:
        raise MediaError(f"{what} leads to {found}; public addresses are allowed; correct the uri", "refused_address")
    if not found.is_global and not private_hosts:
        told = f"{what} leads to {found}; public addresses are allowed; set ingest.private_hosts for one's own"
        raise MediaError(told, "refused_address")


def refuse_host(url: str, private_hosts: bool) -> None:
    """Refuse what no connection is made for here: another scheme, or an address that a proxy would be asked for."""
    parts = urlsplit(url)
    if parts.scheme.lower() not in WEB_SCHEMES or not parts.hostname:
        raise MediaError(f"{url} is no web address; http and https are allowed; correct the uri", "refused_address")
    if re.fullmatch(r"[0-9.]+|.*:.*", parts.hostname):
        refuse_address(parts.hostname, url, private_hosts)


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MAX_REDIRECTS

    def __init__(self, private_hosts: bool) -> None:
        self.private_hosts = private_hosts

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow to http and https only, never from https to http; the connection looks at the address."""
        refuse_host(newurl, self.private_hosts)
        if req.full_url.startswith("https:") and not newurl.lower().startswith("https:"):
            raise MediaError(f"{req.full_url} leads to {newurl}; https is needed; correct the uri", "refused_address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _looked_at(connection: Any, private_hosts: bool) -> None:
    """Refuse a peer that was connected to: whatever name led there, and however often it changes its mind."""
    if connection.is_proxied:
        return
    try:
        refuse_address(connection.sock.getpeername()[0], connection.host, private_hosts)
    except MediaError:
        connection.close()
        raise


class _HttpConnection(http.client.HTTPConnection):
    private_hosts = is_proxied = False

    def connect(self) -> None:
        """Connect, and look at where that led."""
        super().connect()
        _looked_at(self, self.private_hosts)


class _HttpsConnection(http.client.HTTPSConnection):
    private_hosts = is_proxied = False

    def connect(self) -> None:
        """Connect, and look at where that led."""
        super().connect()
        _looked_at(self, self.private_hosts)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, private_hosts: bool) -> None:
        super().__init__()
        self.private_hosts = private_hosts

    def http_open(self, req: Any) -> Any:
        """Open over a connection that looks at its peer."""
        return self.do_open(_made(_HttpConnection, self.private_hosts, req), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, private_hosts: bool) -> None:
        super().__init__()
        self.private_hosts = private_hosts

    def https_open(self, req: Any) -> Any:
        """Open over a connection that looks at its peer."""
        return self.do_open(_made(_HttpsConnection, self.private_hosts, req), req, context=ssl.create_default_context())


def _made(kind: Any, private_hosts: bool, request: urllib.request.Request) -> Any:
    def connection(host: str, **arguments: Any) -> Any:
        made = kind(host, **arguments)
        made.private_hosts, made.is_proxied = private_hosts, _is_proxied(request)
        return made

    return connection


def _is_proxied(request: Any) -> bool:
    return request.has_proxy() or bool(getattr(request, "_tunnel_host", None))


def _start_of(answer: Any) -> int:
    """First byte of an answer within the whole file."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", "")) if answer.status == 206 else None
    return int(found[1]) if found else 0
