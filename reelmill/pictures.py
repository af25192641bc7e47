"""Pictures that become part of a page."""

import base64
from pathlib import Path

PICTURE_TYPES = {".png": "png", ".gif": "gif", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}


def picture_uri(file: Path) -> str:
    """A picture file as a data URI; "" if there is none of a type that pages show."""
    if not file.is_file() or file.suffix.lower() not in PICTURE_TYPES:
        return ""
    return f"data:image/{PICTURE_TYPES[file.suffix.lower()]};base64," + base64.b64encode(file.read_bytes()).decode()
