"""Names of inputs: a uri is text in data, whatever bytes a local name has, and leads back to the same file."""

import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

_FILE_SCHEME = "file://"
BUCKET_SCHEMES = ("s3", "gs", "az")  # object stores: they can be listed
WEB_SCHEMES = ("http", "https")


def local_uri(path: str | Path) -> str:
    """The absolute path; as a percent-encoded file:// uri if its name is not valid UTF-8."""
    absolute = os.path.abspath(path)
    try:
        absolute.encode("utf-8")
    except UnicodeEncodeError:
        return _FILE_SCHEME + quote_from_bytes(os.fsencode(absolute))
    return absolute


def local_path(uri: str) -> Path:
    """The file that a uri of `local_uri`, or a file:// uri of anybody, names."""
    if uri.startswith(_FILE_SCHEME):
        return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE_SCHEME))))
    return Path(uri)


def is_remote(uri: str) -> bool:
    """Whether a uri names something that is no local file."""
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and scheme.isascii() and scheme.replace("+", "").isalnum() and scheme != "file"


def scheme_of(uri: str) -> str:
    """Scheme of a remote uri, in lower case."""
    return uri.partition("://")[0].lower()


def bucket_and_key(uri: str) -> tuple[str, str]:
    """`s3://bucket` and the key below it, as it is written: nothing is decoded."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme.lower()}://{bucket}", key


def name_of(uri: str) -> PurePosixPath:
    """Path of a remote uri without host and query, for its suffix."""
    return PurePosixPath(urlsplit(uri).path if scheme_of(uri) in WEB_SCHEMES else bucket_and_key(uri)[1])


def without_password(uri: str) -> str:
    """The uri with user and password, if it has any, as `***`: uris are published."""
    return re.sub(r"^([^:/]+://)[^/?#]*@", r"\1***@", uri)
