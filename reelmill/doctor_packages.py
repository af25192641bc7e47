"""Checks of what is installed: our own packages, what they need, and what each extra would add."""

import os
import re
from collections.abc import Sequence
from importlib import metadata

from reelmill.doctor_check import Check, version_of
from shards.packages import HOME, foreign_packages

EXTRA_GIVES = {
    "models": "embeddings, aesthetic scores, BLIP-2 captions, caption-clip similarity",
    "ocr": "text area scores by OCR",
    "shots": "shot boundaries by TransNetV2",
    "train": "the trainer and its samples",
    "dev": "make test, make lint",
}


def package_checks() -> list[Check]:
    """Packages, extras, OpenCV wheels, Ray."""
    own = version_of("reelmill")
    return [
        Check(
            "packages", "reelmill", "ok" if own else "problem", own or "not installed", "" if own else "pip install ."
        ),
        _one_folder(),
        *(_extra(extra, names) for extra, names in _requirements().items()),
        _opencv(),
        _ray(),
    ]


def _one_folder() -> Check:
    foreign = foreign_packages()
    if not foreign:
        return Check("packages", "one folder", "ok", str(HOME))
    found = ", ".join(f"{name} is {path or 'missing'}" for name, path in foreign.items())
    return Check("packages", "one folder", "problem", found, f"rename them, or start elsewhere: {HOME} is expected")


def _requirements() -> dict[str, list[str]]:
    """Names of required distributions by extra; "" holds those that are always needed."""
    found: dict[str, list[str]] = {"": []}
    try:
        lines = metadata.requires("reelmill") or []
    except metadata.PackageNotFoundError:
        return {}
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra == [\"']([^\"']+)[\"']", line)
        if name and name[0] != "reelmill":
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def _extra(extra: str, names: Sequence[str]) -> Check:
    versions = {name: version_of(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    if not missing:
        value = ", ".join(f"{name} {version}" for name, version in versions.items())
        return Check("packages", f"[{extra}]" if extra else "required", "ok", value, EXTRA_GIVES.get(extra, ""))
    value = f"missing: {', '.join(missing)}"
    if not extra:
        return Check("packages", "required", "problem", value, "pip install reelmill again")
    return Check(
        "packages", f"[{extra}]", "missing", value, f"pip install 'reelmill[{extra}]': {EXTRA_GIVES.get(extra, '')}"
    )


def _opencv() -> Check:
    wheels = sorted(
        {f"{wheel.name} {wheel.version}" for wheel in metadata.distributions() if _is_opencv(wheel.metadata["Name"])}
    )
    if len(wheels) == 1:
        return Check("packages", "OpenCV", "ok", wheels[0])
    return Check(
        "packages", "OpenCV", "problem", ", ".join(wheels) or "no wheel",
        "one wheel is allowed, since they share a folder: uninstall all, then pip install opencv-python-headless",
    )  # fmt: skip


def _is_opencv(name: str | None) -> bool:
    return bool(re.fullmatch(r"opencv[-_](contrib[-_])?python([-_]headless)?", name or "", re.IGNORECASE))


def _ray() -> Check:
    version = version_of("ray")
    if version is None:
        return Check("packages", "Ray", "missing", "not installed", "--executor ray: the same YAML on a cluster")
    address = os.environ.get("RAY_ADDRESS")
    return Check(
        "packages", "Ray", "ok", f"{version}, {f'cluster {address}' if address else 'no RAY_ADDRESS: starts one here'}"
    )
