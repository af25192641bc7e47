"""Names of inputs: a uri is text in data, whatever bytes a local name has, and leads back to the same file."""

import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

_FILE_SCHEME = "file://"


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
