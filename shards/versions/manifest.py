"""A version of a dataset: one immutable JSON file that names every object by checksum.

`manifests/v000007.json` is created once; `LATEST` is a hint. Two versions of the same content are the same file but for
version and parent.
"""

import hashlib
import json
import re
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, ValidationError

from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit, Record, StoredFile
from shards.storage.store import ObjectMissing, Store
from shards.versions.splits import SplitConfig
from shards.versions.tombstones import Withdrawal

LATEST = "LATEST"
README = "README.md"
FORMAT_VERSION = 1


class Parent(Record):
    """The version that was the newest before."""

    version: int
    sha256: str


class PlanIndexFile(StoredFile):
    """The plan index: what a loader needs of every sample, an Arrow file to be mapped."""

    xxh3: str = Field(description="xxh3_64, 16 hex digits: what opening checks, at memory speed.")
    num_samples: int = Field(description="Rows; the row's number is the sample's id in this version.")


class ColumnInfo(Record):
    """A column of the plan index and of every shard's index."""

    name: str
    type: str = Field(description="As Arrow prints it.")
    unit: str
    doc: str


class ColumnStats(Record):
    """Of a numeric score column over all published samples."""

    num_values: int = Field(description="Samples whose value is not null.")
    min: float | None
    mean: float | None
    max: float | None


class SplitStats(Record):
    """Size of a split."""

    num_samples: int
    num_sources: int
    hours: float


class Stats(Record):
    """Size of the version."""

    num_samples: int
    num_captions: int
    num_sources: int
    num_frames: int
    hours: float
    size_bytes: int = Field(description="Of the tars, unpublished samples in them included.")
    columns: dict[str, ColumnStats]


class Manifest(Record):
    """Everything about a version."""

    format: Literal["reelmill-shards"] = "reelmill-shards"
    format_version: Literal[1] = FORMAT_VERSION
    version: int = Field(gt=0)
    parent: Parent | None
    shards: tuple[Commit, ...] = Field(min_length=1)
    plan_index: PlanIndexFile
    columns: tuple[ColumnInfo, ...]
    split_config: SplitConfig
    splits: dict[str, SplitStats]
    stats: Stats
    licences: tuple[str, ...]
    withdrawn: tuple[Withdrawal, ...] = Field(
        default=(), description="What must not come back; the field is absent if there is nothing."
    )
    config: dict[str, Any] = Field(description="Resolved configuration of the run that published.")

    def content(self) -> dict[str, Any]:
        """All but the place in history: what decides whether two versions are the same."""
        return self.model_dump(mode="json", exclude={"version", "parent"})

    def to_bytes(self) -> bytes:
        """The file."""
        return self.model_dump_json(indent=1, exclude=None if self.withdrawn else {"withdrawn"}).encode() + b"\n"

    def sha256(self) -> str:
        """Checksum of the file: what a trainer pins."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def manifest_path(version: int) -> str:
    """Where a version's manifest lies."""
    return f"manifests/v{version:06d}.json"


def versions(store: Store) -> list[int]:
    """Published versions, increasing."""
    names = [re.fullmatch(r"manifests/v([0-9]{6,})\.json", item.path) for item in store.list("manifests")]
    return sorted(int(match.group(1)) for match in names if match)


def read_manifest(store: Store, version: int | None = None) -> Manifest:
    """A version, the newest by default.

    Raises:
        ConfigError: nothing is published, or not this version.
        ContractError: the file is not what was published.
    """
    if version is None:
        published = versions(store)
        if not published:
            raise ConfigError(f"dataset {store.uri} has no published version; publish one or name another folder")
        version = published[-1]
    path = manifest_path(version)
    try:
        data = store.get(path)
    except ObjectMissing:
        known = ", ".join(map(str, versions(store))) or "none"
        raise ConfigError(f"version is {version}; {store.uri} has {known}; name one of them") from None
    manifest = parse_manifest(data, path)
    if manifest.version != version:
        raise ContractError(f"{path} says it is version {manifest.version}; it must be {version}; restore it")
    return manifest


def check_latest(store: Store, version: int, sha256: str) -> None:
    """Where LATEST names this version, it must be with this checksum; LATEST may be absent, old or unreadable.

    Raises:
        ContractError: one of the two was changed.
    """
    try:
        hint = store.get(LATEST).decode("ascii", "replace")
    except ObjectMissing:
        return
    found = re.fullmatch(r"v([0-9]{6,}) ([0-9a-f]{64})\n", hint)
    if found and int(found[1]) == version and found[2] != sha256:
        raise ContractError(
            f"{manifest_path(version)} in {store.uri} has sha256 {sha256}; {found[2]} is in {LATEST}; one of them "
            f"was changed; restore it; see shards verify"
        )


def parse_manifest(data: bytes, path: str) -> Manifest:
    """A manifest from its bytes.

    Raises:
        ContractError: the bytes are not exactly those of a manifest.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ContractError(f"{path} is no manifest; {where}: {problem['msg']}; restore it") from error
    if manifest.to_bytes() != data:
        raise ContractError(f"{path} is not in the form that publishing writes; it was changed by hand; restore it")
    return manifest


def manifest_schema() -> str:
    """The JSON Schema of a manifest, the text of docs/manifest.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
    schema["required"] = ["format", "format_version", *schema["required"]]  # they have defaults, and are always there
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def column_info(schema: pa.Schema) -> tuple[ColumnInfo, ...]:
    """Columns of a schema, as the manifest states them."""
    return tuple(
        ColumnInfo(
            name=field.name,
            type=str(field.type),
            unit=(field.metadata or {}).get(b"unit", b"").decode(),
            doc=(field.metadata or {}).get(b"doc", b"").decode(),
        )
        for field in schema
    )
