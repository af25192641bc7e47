"""Text for people from data that strangers wrote: what cannot be seen is shown, numbers get a readable size.

Jinja escapes HTML; this file takes care of what HTML leaves alone: control characters, bidirectional overrides,
zero-width marks and lone surrogates, which could make a report show another text than the data holds.
"""

import unicodedata

LONGEST_CELL = 400  # characters of one value that a page shows
NBSP = "\u00a0"  # keeps a number and its unit on one line
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: object, limit: int = LONGEST_CELL) -> str:
    """Text with every character that has no picture written as an escape, cut at `limit` characters.

    A line break becomes `\\n`; an override that would turn the line around becomes `\\u202e`.
    """
    characters = str(text)
    shown = "".join(_escape(character) for character in characters[:limit])
    return f"{shown}… ({len(characters)} characters)" if len(characters) > limit else shown


def visible_lines(text: object, limit: int = 40_000) -> str:
    """As `visible`, line by line: line breaks stay."""
    lines = str(text)[:limit].split("\n")
    return "\n".join(visible(line, limit) for line in lines)


def duration(seconds: float | None) -> str:
    """With unbreakable spaces: `0.84 s`, `12.3 s`, `4 min 05 s`, `3.2 h`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds:.2f}{NBSP}s" if seconds else f"0{NBSP}s"
    if seconds < 100:
        return f"{seconds:.1f}{NBSP}s"
    if seconds < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}{NBSP}min{NBSP}{rest:02d}{NBSP}s"
    return f"{seconds / 3600:,.1f}{NBSP}h"


def clock(seconds: float) -> str:
    """A position in a video: `1:02.48`, `1:00:02.48`."""
    hundredths = round(seconds * 100)
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{hundredths // 100:02d}.{hundredths % 100:02d}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def number(value: object) -> str:
    """A score with the digits a person reads: four significant ones, no exponent where it can be helped."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _float(value)
    return visible(value)


def share(part: float, whole: float) -> str:
    """A part of a whole in percent; a dash if there is no whole."""
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 99.95 else f"{percent:.0f} %"


def size(num_bytes: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} TB"


def _escape(character: str) -> str:
    if character == "\n":
        return "\\n"
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e6:
        digits = f"{value:,.{max(0, 3 - _exponent(value))}f}"
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{value:.3g}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
