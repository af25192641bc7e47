"""docs/format.md is enough to read a dataset: here it is followed with the standard library and pyarrow alone."""

import ast
import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from shards.format.commit import commit_shard
from shards.format.index import ROW
from shards.format.npy import npy_bytes
from shards.reading.reader import open_dataset
from shards.schema import SAMPLE
from shards.versions.manifest import Manifest, column_info
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

BOOK = Path(__file__).parents[3] / "docs/format.md"


# --- What a reader in another language would write. Nothing here is imported from Reelmill. ---


def newest_manifest(root: Path) -> dict[str, Any]:
    name, sha256 = (root / "LATEST").read_text("ascii").split()
    data = (root / f"manifests/{name}.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    manifest = json.loads(data)
    assert (manifest["format"], manifest["format_version"]) == ("reelmill-shards", 1)
    return manifest


def plan_rows(root: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    file = manifest["plan_index"]
    data = (root / file["path"]).read_bytes()
    assert len(data) == file["size_bytes"]
    assert hashlib.sha256(data).hexdigest() == file["sha256"]
    assert Path(file["path"]).name == f"{file['sha256'][:16]}.plan.arrow"
    assert data[:6] == data[-6:] == b"ARROW1"
    rows = pa.ipc.open_file(data).read_all().to_pylist()
    assert [row["id"] for row in rows] == list(range(file["num_samples"]))
    return rows


def tar_members(tar: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size by the headers."""
    at = 0
    while any(tar[at : at + 512]):
        head = tar[at : at + 512]
        assert head[257:265] == b"ustar\x0000"
        assert head[156:157] == b"0"
        assert head[100:108] == b"0000644\0"
        assert int(head[136:147], 8) == 0
        assert head[148:156] == b"%06o\0 " % sum(head[:148] + b" " * 8 + head[156:])
        size = int(head[124:135], 8)
        yield head[:100].rstrip(b"\0").decode(), at + 512, size
        at += 512 + -(-size // 512) * 512
    assert not any(tar[at:])
    assert len(tar) - at >= 1024
    assert len(tar) % 10_240 == 0


def members_of(columns: list[str]) -> list[str]:
    return [name.removesuffix("_offset") for name in columns if name.endswith("_offset")]


def read_sample(root: Path, row: dict[str, Any]) -> dict[str, bytes]:
    with (root / row["shard"]).open("rb") as tar:
        sample = {}
        for member in members_of(list(row)):
            tar.seek(row[f"{member}_offset"])
            sample[member] = tar.read(row[f"{member}_size"])
        return sample


def array(data: bytes) -> tuple[str, tuple[int, ...], bytes]:
    """Element type, shape, elements."""
    assert data[:8] == b"\x93NUMPY\x01\x00"
    end = 10 + int.from_bytes(data[8:10], "little")
    head = ast.literal_eval(data[10:end].decode())
    assert head["fortran_order"] is False
    return head["descr"], head["shape"], data[end:]


def split_of(rows: list[dict[str, Any]], config: dict[str, Any]) -> list[str]:
    component = {row["video_id"]: {row["video_id"]} for row in rows}
    groups: dict[str, set[str]] = {}
    for row in rows:
        if row["dup_group"] is not None:
            groups.setdefault(row["dup_group"], set()).add(row["video_id"])
    for members in groups.values():
        merged = set().union(*(component[video] for video in members))
        for video in merged:
            component[video] = merged
    sides = []
    for row in rows:
        name = min(component[row["video_id"]])
        digest = hashlib.sha256(f"split:{config['seed']}:{name}".encode()).digest()
        place = int.from_bytes(digest[:6], "big") / 2**48
        sides.append("val" if place < config["val"] else "test" if place < config["val"] + config["test"] else "train")
    return sides


def boxes(data: bytes) -> dict[str, bytes]:
    """Boxes of an MP4 by name, containers opened."""
    found = {}
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body, name = data[at + 8 : at + size], kind.decode("latin1")
        found |= boxes(body) if name in ("moov", "trak", "edts", "mdia", "minf", "stbl") else {name: body}
        at += size
    return found


def presented(mp4: bytes) -> tuple[int, list[int], int, int]:
    """Time scale, pts of presented frames, packets before them, and the edit's duration."""
    box = boxes(mp4)
    movie_scale, media_scale = (struct.unpack_from(">I", box[name], 12)[0] for name in ("mvhd", "mdhd"))
    assert movie_scale == media_scale
    version, entries, duration, media_time, rate = struct.unpack(">IIQqI", box["elst"])
    assert (version, entries, rate) == (1 << 24, 1, 1 << 16)
    steps = runs(box["stts"])
    decode = list(accumulate(steps[:-1], initial=0))
    offsets = runs(box["ctts"]) if "ctts" in box else [0] * len(decode)
    pts = [at + offset - media_time for at, offset in zip(decode, offsets, strict=True)]
    return media_scale, sorted(p for p in pts if 0 <= p < duration), sum(p < 0 for p in pts), duration


def runs(table: bytes) -> list[int]:
    count = struct.unpack_from(">I", table, 4)[0]
    pairs = [struct.unpack_from(">Ii", table, 8 + 8 * number) for number in range(count)]
    return [value for times, value in pairs for _ in range(times)]


# --- The proof: what it reads is what was written. ---


def test_a_dataset_is_read_by_the_book(tmp_path: Path, dataset_of: Callable[..., Manifest], mp4: bytes):
    dataset_of(9, per_shard=4, val=0.3)
    root = tmp_path / "dataset"
    manifest = newest_manifest(root)
    rows = plan_rows(root, manifest)
    assert [row["split"] for row in rows] == split_of(rows, manifest["split_config"])
    assert [column["name"] for column in manifest["columns"]] == list(rows[0])
    for row in rows:
        sample = read_sample(root, row)
        assert sample["mp4"] == mp4
        assert sample["txt"].decode() == row["caption"] == f"caption of {row['key']}"
        told = json.loads(sample["json"])
        assert told == {name: row[name] for name in told}
        assert set(row) - set(told) == {"id", "split", "shard", "bucket", *(n for n in row if n.startswith(PLACES))}
        assert sample["json"] == json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    for commit in manifest["shards"]:
        check_shard(root, commit)


PLACES = ("json_", "mp4_", "txt_")


def check_shard(root: Path, commit: dict[str, Any]) -> None:
    """Record, tar and index of a shard agree."""
    record = root / f"commits/{commit['plan_id'][:8]}/{commit['shard_no']:06d}.json"
    assert json.loads(record.read_bytes()) == commit
    assert record.read_text() == json.dumps(commit, indent=1)
    tar, index = ((root / commit[part]["path"]).read_bytes() for part in ("shard", "index"))
    for data, part in ((tar, "shard"), (index, "index")):
        assert (len(data), hashlib.sha256(data).hexdigest()) == (commit[part]["size_bytes"], commit[part]["sha256"])
    rows = pq.read_table(root / commit["index"]["path"]).to_pylist()
    placed = [
        (f"{row['key']}.{member}", row[f"{member}_offset"], row[f"{member}_size"])
        for row in rows
        for member in members_of(list(row))
    ]
    assert placed == list(tar_members(tar))
    for row in rows:
        for member in members_of(list(row)):
            data = tar[row[f"{member}_offset"] :][: row[f"{member}_size"]]
            assert row[f"{member}_xxh3"] == xxhash.xxh3_64_intdigest(data)


def test_arrays_are_read_by_the_book(tmp_path: Path, row_of: Callable[..., dict[str, Any]], mp4: bytes):
    latent = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    rows = pa.Table.from_pylist([row_of("a", mp4)], schema=ROW)
    members = [{"latent.npy": npy_bytes(latent)}]
    commit = commit_shard(tmp_path / "dataset", "ab" * 32, 0, "toy", rows, members, tmp_path)
    publish(tmp_path / "dataset", [commit], {}, SplitConfig(val=0))
    row = plan_rows(tmp_path / "dataset", newest_manifest(tmp_path / "dataset"))[0]
    dtype, shape, elements = array(read_sample(tmp_path / "dataset", row)["latent_npy"])
    assert (dtype, list(shape)) == (row["latent_npy_dtype"], row["latent_npy_shape"]) == ("<f2", [2, 3, 4])
    assert struct.unpack("<24e", elements) == tuple(range(24))


@pytest.mark.parametrize(("start", "preroll"), [(12, 0), (15, 3)])
def test_a_copied_clip_presents_by_its_edit_list_what_the_index_says(
    tmp_path: Path, draw: Callable[..., bytes], start: int, preroll: int
):
    """24 frames with B-frames and a key frame every 12; [start, 21) is copied from the key frame before it."""
    from curate.clips.copy import copy_clip
    from shards.reading.decode import presented_pts

    source = tmp_path / "source.mp4"
    source.write_bytes(draw())
    scale = struct.unpack_from(">I", boxes(source.read_bytes())["mdhd"], 12)[0]
    plan = copy_clip(source, 0, start * scale // 8, 21 * scale // 8, tmp_path / "clip.mp4", max_preroll=10)
    clip = (tmp_path / "clip.mp4").read_bytes()
    frames = [number * scale // 8 for number in range(21 - start)]
    assert plan.frame_pts == frames
    assert presented(clip) == (scale, frames, preroll, (21 - start) * scale // 8)
    assert presented_pts(clip) == frames
    assert plan.preroll_frames == preroll


def test_the_books_table_of_columns_is_the_schema():
    text = BOOK.read_text("utf-8")
    rows = [f"| `{column.name}` | {column.type} | {column.unit} | {column.doc} |" for column in column_info(SAMPLE)]
    assert "\n".join(rows) in text


def test_the_books_checksum_is_ours():
    assert xxhash.xxh3_64_hexdigest(b"") in BOOK.read_text("utf-8")


def test_every_problem_code_is_in_the_book():
    from shards.versions.verify import Problem

    listed = (Problem.__doc__ or "").split("code: stable: ")[1].split(".\n")[0]
    codes = [part.split()[0] for part in listed.replace("\n", " ").split(",")]
    assert len(codes) >= 14
    text = BOOK.read_text("utf-8")
    assert [code for code in codes if f"`{code}`" not in text] == []


def test_the_reader_agrees_with_the_book(tmp_path: Path, dataset_of: Callable[..., Manifest]):
    dataset_of(3)
    dataset = open_dataset(tmp_path / "dataset")
    rows = plan_rows(tmp_path / "dataset", newest_manifest(tmp_path / "dataset"))
    assert [dataset.read(row["id"]) for row in rows] == [read_sample(tmp_path / "dataset", row) for row in rows]
