"""Opening a published version and reading its samples; every read checks size and checksum."""

import copy
import difflib
import mmap
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from shards.errors import ConfigError, ContractError
from shards.format.commit import StoredFile
from shards.format.npy import load_npy
from shards.format.tar import BLOCK, is_adopted_header, tar_header
from shards.format.writer import mapped
from shards.plans.plan import BatchPlan, PlanConfig, plan_batches
from shards.plans.view import BORDER_COLUMNS, ViewConfig
from shards.schema import ADOPTED, member_column, members_of
from shards.storage.cache import CachedStore
from shards.storage.store import LocalFolder, Store, open_store
from shards.versions.manifest import Manifest, check_latest, read_manifest

ROW_COLUMNS = (
    "key", "caption", "cut_mode", "frame_pts", "time_base_num", "time_base_den", "rotation_deg", "sar_num", "sar_den",
    "source_start_pts", "source_end_pts", "source_time_base_num", "source_time_base_den",
)  # fmt: skip


_PLACE, _KIND = ("offset", "size", "xxh3"), ("dtype", "shape")


def open_dataset(
    uri: str | Path | Store, version: int | None = None, manifest_sha256: str | None = None
) -> "ShardDataset":
    """A published version, the newest by default.

    Args:
        uri: folder, uri or store of the dataset.
        version: number of the version.
        manifest_sha256: pin: refuse a manifest with another checksum.

    Raises:
        ConfigError: nothing is published there, or not this version.
        ContractError: manifest or plan index are not what was published.
    """
    return ShardDataset(open_store(uri), version, manifest_sha256)


class ShardDataset:
    """The samples of one version, by id. Opens again by itself in another process.

    Attributes:
        manifest: of the version.
        manifest_sha256: what a trainer pins.
        rows: the plan index, memory-mapped if local: one row per sample, row number = id.
    """

    def __init__(self, store: Store, version: int | None = None, manifest_sha256: str | None = None) -> None:
        self.store = store
        self.manifest: Manifest = read_manifest(store, version)
        self.manifest_sha256 = self.manifest.sha256()
        if manifest_sha256 not in (None, self.manifest_sha256):
            raise ContractError(
                f"manifest of {store.uri} v{self.manifest.version} has sha256 {self.manifest_sha256}; "
                f"{manifest_sha256} is pinned; name the version that was pinned"
            )
        if manifest_sha256 is None:
            check_latest(store, self.manifest.version, self.manifest_sha256)
        self.rows = self._map_plan_index()

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardDataset, (self.store, self.manifest.version, self.manifest_sha256)

    @property
    def is_local(self) -> bool:
        """Whether all bytes lie in a local folder, so that reading them is no wait."""
        return isinstance(self.store, LocalFolder)

    def through(self, wrap: Callable[[Store], Store]) -> "ShardDataset":
        """The same samples, read through another store (a cache, say)."""
        store = wrap(self.store)
        if store is self.store:
            return self
        same = copy.copy(self)
        same.store = store
        if isinstance(store, CachedStore):
            store.know(self._files())
        return same

    def __len__(self) -> int:
        return len(self.rows)

    def table(self, split: str | None = None) -> pa.Table:
        """Rows of the plan index, of one split or all."""
        return self.rows if split is None else self.rows.filter(pc.equal(self.rows.column("split"), pa.scalar(split)))

    def find(self, key: str) -> int:
        """Id of the sample with this key.

        Raises:
            ConfigError: there is none.
        """
        found: int = pc.index(self.rows.column("key"), key).as_py()
        if found < 0:
            raise ConfigError(f"key is {key!r}; no sample has this name; see table()")
        return found

    def row(self, sample_id: int) -> dict[str, Any]:
        """What decoding needs of a sample's row."""
        return {name: column[sample_id].as_py() for name, column in self._row_columns.items()}

    def scores(self, name: str, ids: np.ndarray | None = None) -> np.ndarray:
        """A numeric column as float32, of all samples or of these ids; null is NaN.

        Raises:
            ConfigError: there is no such column (the nearest name is told), or it has no numbers.
        """
        column = self.rows.column(self._known(name, "score column"))
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or column.type == pa.bool_()):
            raise ConfigError(f"score column is {name!r}, which has {column.type}; numbers are allowed; name another")
        if ids is None:
            return column.cast(pa.float32()).to_numpy()
        return column.take(pa.array(ids.tolist(), pa.int64())).cast(pa.float32()).to_numpy().copy()

    def texts(self, sample_id: int, names: Iterable[str]) -> list[str | None]:
        """Values of columns of text of a sample, such as captions."""
        return [self.rows.column(name)[sample_id].as_py() for name in names]

    def key(self, sample_id: int) -> str:
        """Name of a sample in the shards."""
        return self._row_columns["key"][sample_id].as_py()

    def read(self, sample_id: int) -> dict[str, bytes]:
        """The bytes of every member of a sample."""
        return {suffix: self.read_member(sample_id, suffix) for suffix in self.members}

    @cached_property
    def members(self) -> tuple[str, ...]:
        """What every sample of the version has, in the order of the tar: `("json", "mp4", "txt")`."""
        return members_of(self.rows.column_names)

    def read_array(self, sample_id: int, suffix: str) -> np.ndarray:
        """The array in a .npy member, read-only, of the type and shape that the index names.

        Raises:
            ConfigError: the samples have no such member.
            ContractError: the bytes are damaged or hold another array.
            StoreError: storage failed.
        """
        return self.parse_array(sample_id, suffix, self.read_member(sample_id, suffix))

    def parse_array(self, sample_id: int, suffix: str, data: bytes) -> np.ndarray:
        """The array in the bytes of a .npy member, as `read_array` gives it."""
        dtypes_N, shapes_N = self._kinds[suffix]
        return load_npy(data, dtypes_N[sample_id].as_py(), shapes_N[sample_id].as_py())

    def read_member(self, sample_id: int, suffix: str) -> bytes:
        """The bytes of one member.

        Raises:
            ConfigError: the samples have no such member.
            ContractError: size or checksum are not those of the index, or the member's header is not the one that the
                format fixes.
            StoreError: storage failed.
        """
        if suffix not in self.members:
            raise ConfigError(f"member is {suffix!r}; {', '.join(self.members)} are in {self.store.uri}; name one")
        shard = self._shards[sample_id].as_py()
        offsets_N, sizes_N, xxh3_N = self._places[suffix]
        offset, size, wanted = int(offsets_N[sample_id]), int(sizes_N[sample_id]), int(xxh3_N[sample_id])
        for may_differ in (True, False):
            header, data = self.store.get_parts(shard, offset - BLOCK, (BLOCK, size))
            is_whole = len(data) == size and xxhash.xxh3_64_intdigest(data) == wanted
            if is_whole and self._is_header(header, sample_id, suffix, size):
                return data
            if not (may_differ and self._read_otherwise(shard)):
                break
        raise ContractError(
            f"{shard} in {self.store.uri} has {len(data)} bytes at {offset}, not the {size} of the index with "
            f"their checksum, or another header before them (sample {sample_id}, .{suffix}); the file is damaged; "
            f"restore it; see shards verify"
        )

    def _read_otherwise(self, shard: str) -> bool:
        """Whether reading again may give other bytes: the local copy, or the way from far away, may be at fault."""
        if isinstance(self.store, CachedStore):
            return self.store.forget(shard)
        return not self.is_local

    def _is_header(self, block: bytes, sample_id: int, suffix: str, size: int) -> bool:
        key = self.key(sample_id)
        if block == tar_header(f"{key}.{suffix}", size):
            return True
        is_adopted = self._row_columns["cut_mode"][sample_id].as_py() == ADOPTED
        return is_adopted and is_adopted_header(block, key, suffix, size)

    def place(self, sample_id: int, suffix: str) -> str:
        """Where a member lies, for people."""
        shard, key = (self.rows.column(name)[sample_id].as_py() for name in ("shard", "key"))
        return f"sample {key} (.{suffix} at byte {self._places[suffix][0][sample_id]} of {shard})"

    def plan(self, config: PlanConfig, view: ViewConfig | None = None) -> BatchPlan:
        """Batches over the samples that plan and view can use.

        Raises:
            ConfigError: no batch can be made.
        """
        self.check_scores(view)
        return plan_batches([self.rows], config, view)

    def check_scores(self, view: ViewConfig | None) -> None:
        """Refuse a view whose score columns are not there or have no numbers."""
        for name in () if view is None else view.score_columns:
            self.scores(name, np.zeros(min(len(self), 1), np.int64))

    def _known(self, name: str, what: str) -> str:
        if name not in self.rows.column_names:
            names = self.rows.column_names
            near = difflib.get_close_matches(name, names, n=1)
            raise ConfigError(f"{what} is {name!r}; {', '.join(near or names)} is known; name one of the index")
        return name

    @cached_property
    def _places(self) -> Mapping[str, list[np.ndarray]]:
        """Offset, size and checksum of a member, of all samples."""
        columns = {suffix: [member_column(suffix, part) for part in _PLACE] for suffix in self.members}
        return {suffix: [self.rows.column(name).to_numpy() for name in names] for suffix, names in columns.items()}

    @cached_property
    def _kinds(self) -> Mapping[str, list[pa.ChunkedArray]]:
        """Element type and shape of the arrays in a .npy member, of all samples."""
        arrays = [suffix for suffix in self.members if suffix.endswith(".npy")]
        return {suffix: [self.rows.column(member_column(suffix, part)) for part in _KIND] for suffix in arrays}

    @cached_property
    def _shards(self) -> pa.ChunkedArray:
        return self.rows.column("shard")

    @cached_property
    def _row_columns(self) -> Mapping[str, pa.ChunkedArray]:
        borders = [name for name in BORDER_COLUMNS if name in self.rows.column_names]
        return {name: self.rows.column(name) for name in (*ROW_COLUMNS, *borders)}

    def _files(self) -> list[StoredFile]:
        return [self.manifest.plan_index, *(commit.shard for commit in self.manifest.shards)]

    def _map_plan_index(self) -> pa.Table:
        file = self.manifest.plan_index
        source: pa.Buffer
        if isinstance(self.store, CachedStore):
            self.store.know(self._files())
            with self.store.opened(file) as copy:
                source = pa.py_buffer(mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ))
        elif isinstance(self.store, LocalFolder):
            path = self.store.local_path(file.path)
            if not path.is_file():
                raise ContractError(f"{path} is missing; the manifest names it; restore or republish")
            source = pa.py_buffer(mapped(path))
        else:
            source = pa.py_buffer(self.store.get(file.path))
        if source.size != file.size_bytes or xxhash.xxh3_64_hexdigest(memoryview(source)) != file.xxh3:
            raise ContractError(f"{file.path} in {self.store.uri} is not what the manifest names; restore or republish")
        return pa.ipc.open_file(source).read_all()
