import csv
import json
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.errors import ConfigError, ContractError, MediaError
from shards.importing.items import Media
from shards.importing.lists import read_csv, read_hf
from shards.importing.probe import Prober
from shards.importing.run import ImportConfig, Imported, import_dataset
from shards.reading.reader import ShardDataset, open_dataset
from shards.schema import strings
from shards.versions.compact import compact
from shards.versions.export import export
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw
from tests.shards.importing.conftest import MakeTar, sample

ALL_TRAIN = SplitConfig(val=0.0)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Imported, ShardDataset]]:
    """run(kind, source, **config) -> the import, the dataset opened; it verifies to the last frame."""

    def call(kind: Any, source: Path, /, **config: Any) -> tuple[Imported, ShardDataset]:
        options = ImportConfig(kind=kind, split=ALL_TRAIN, **config)
        done = import_dataset(source, tmp_path / "out", options, tmp_path, num_workers=1)
        assert verify(tmp_path / "out", frames=True) == []
        return done, open_dataset(tmp_path / "out")

    return call


def test_a_tar_that_fits_is_linked_and_indexed(run: Callable[..., Any], make_tar: MakeTar, clips: list[bytes]):
    tar = make_tar("a.tar", sample("one", clips[0], "a cat", aes=5.5) | sample("two", clips[1], "", aes=4))
    done, dataset = run("webdataset", tar.parent)
    assert (list(done.adopted), done.rewritten, done.failures) == ([tar], {}, [])
    shard = tar.parents[1] / "out" / dataset.rows.column("shard")[0].as_py()
    assert os.stat(shard).st_ino == os.stat(tar).st_ino  # the very same bytes on disk
    assert dataset.read(dataset.find("one"))["json"] == b'{"aes": 5.5}'
    row = dataset.rows.slice(dataset.find("one"), 1).to_pylist()[0]
    assert (row["num_frames"], row["height"], row["width"], row["caption"]) == (8, 48, 64, "a cat")
    assert (row["duration_s"], row["cut_mode"], row["bucket"]) == (1.0, "adopted", "8x48x64")
    assert dataset.rows.column("caption").to_pylist() == ["a cat", None]
    assert dataset.rows.column("aes").to_pylist() == [5.5, 4.0]


def test_tars_that_do_not_fit_are_written_anew_with_the_reason(
    run: Callable[..., Any], make_tar: MakeTar, clips: list[bytes]
):
    pax = make_tar("pax.tar", sample("p" * 120, clips[0], "long"), tarfile.PAX_FORMAT)
    order = make_tar("order.tar", {"b.mp4": clips[1], "b.txt": b"dog", "b.json": b"{}"})
    suffix = make_tar("suffix.tar", {"dir/C.mp4": clips[2], "dir/C.caption.txt": b"x", "dir/C.json": b'{"text": "hi"}'})
    in_json = make_tar("json.tar", {"d.json": b'{"caption": "from json"}', "d.mp4": clips[3], "d.txt": b""})
    done, dataset = run("webdataset", pax.parent)
    assert list(done.adopted) == []
    assert {
        tar: reason.split(";")[1].strip() if ";" in reason else reason for tar, reason in done.rewritten.items()
    } == {
        pax: "the member is no regular file with a short name",
        order: "sample b has members ('mp4', 'txt', 'json'), not ('json', 'mp4', 'txt')",
        suffix: "the name is 'dir/C.mp4', not <key>.<json|mp4|latent.npy|text.npy|txt>",
        in_json: "the caption of d is in its .json, not in its .txt",
    }
    captions = dict(zip(strings(dataset.rows, "key"), dataset.rows.column("caption").to_pylist(), strict=True))
    assert (captions["b"], captions["d"]) == ("dog", "from json")
    assert sorted(map(str, captions.values())) == ["dog", "from json", "hi", "long"]
    assert all(len(key) == 16 for key in captions.keys() - {"b", "d"})  # keys that are none get a hash of the name
    assert {tar.name for tar in pax.parent.iterdir()} == {"pax.tar", "order.tar", "suffix.tar", "json.tar"}


def test_clips_that_do_not_decode_are_named_and_the_rest_is_taken(
    run: Callable[..., Any], make_tar: MakeTar, clips: list[bytes]
):
    members = sample("good", clips[0], "a") | sample("cut", clips[1][:-2000], "b") | sample("text", b"no video", "c")
    tar = make_tar("a.tar", members | {"poor.txt": b"no clip at all", "poor.json": b"{}"})
    (tar.parent / "b.tar").write_bytes(b"this is no tar")
    done, dataset = run("webdataset", tar.parent)
    assert strings(dataset.rows, "key") == ["good"]
    codes = {failure.name: failure.code for failure in done.failures}
    assert codes.pop("a.tar/cut") in ("undecodable", "not_mp4")
    assert codes == {"a.tar/text": "not_mp4", "a.tar/poor": "no_video", "b.tar": "broken_tar"}
    assert tar in done.rewritten


def test_a_csv_with_a_folder_of_clips(run: Callable[..., Any], tmp_path: Path, clips: list[bytes]):
    """As Open-Sora writes it: path, text, and numbers, of which the contract knows some from the bytes."""
    (tmp_path / "source/clips").mkdir(parents=True)
    for number, clip in enumerate(clips):
        (tmp_path / f"source/clips/v{number}.mp4").write_bytes(clip)
    with (tmp_path / "source/list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "text", "num_frames", "aes", "Flow score", "split"])
        table.writerows([f"clips/v{n}.mp4", f"caption {n}", 99, 5 + n / 4, "" if n else "1e3", "x"] for n in range(5))
        table.writerow(["clips/absent.mp4", "gone", 1, 1, 1, "x"])
    done, dataset = run("csv", tmp_path / "source/list.csv", licence="CC-BY-4.0")
    assert [(failure.code, failure.name) for failure in done.failures] == [
        ("missing_file", "list.csv:6 clips/absent.mp4")
    ]
    assert sorted(done.left) == ["num_frames", "split", "text"]
    rows = {row["key"]: row for row in dataset.rows.to_pylist()}
    assert {key: row["num_frames"] for key, row in rows.items()} == {f"v{n}": 8 + n for n in range(5)}
    assert (rows["v3"]["aes"], rows["v3"]["flow_score"], rows["v0"]["flow_score"]) == (5.75, None, 1000)
    assert (rows["v3"]["caption"], rows["v3"]["licence"], rows["v3"]["cut_mode"]) == (
        "caption 3",
        "CC-BY-4.0",
        "import",
    )
    assert {commit.bucket for commit in dataset.manifest.shards} == {"8x48x64", "8x48x96"}
    assert dataset.read_member(dataset.find("v2"), "mp4") == clips[2]


def test_video2dataset_output_keeps_clips_of_one_video_on_one_side(
    tmp_path: Path, make_tar: MakeTar, clips: list[bytes]
):
    """Its tars have .mp4, .json, .txt, and the url of the video that several clips were cut from."""
    for shard in range(2):
        members: dict[str, bytes] = {}
        for number, clip in enumerate(clips):
            key = f"{shard:05d}{number:04d}_00000"
            values = {"url": f"https://example.org/{number % 3}", "caption": f"c{number}", "status": "success"}
            members |= {f"{key}.mp4": clip, f"{key}.json": json.dumps(values).encode(), f"{key}.txt": b"c"}
        make_tar(f"{shard:05d}.tar", members)
        (tmp_path / f"source/{shard:05d}_stats.json").write_text("{}")
    options = ImportConfig(kind="video2dataset", split=SplitConfig(val=0.5))
    import_dataset(tmp_path / "source", tmp_path / "out", options, tmp_path)
    rows = open_dataset(tmp_path / "out").rows.select(["source_uri", "video_id", "split"]).to_pylist()
    assert len(rows) == 10
    assert {row["source_uri"] for row in rows} == {f"https://example.org/{number}" for number in range(3)}
    assert len({(row["video_id"], row["split"]) for row in rows}) == 3
    assert verify(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_hugging_face_video_folder(run: Callable[..., Any], tmp_path: Path, clips: list[bytes], name: str):
    for split, clip in zip(("train", "test"), clips, strict=False):
        folder = tmp_path / "source" / split
        folder.mkdir(parents=True)
        (folder / "a.mp4").write_bytes(clip)
        line = json.dumps({"file_name": "a.mp4", "text": split, "stars": 3})
        (folder / name).write_text(line + "\n" if name.endswith("l") else f"file_name,text,stars\na.mp4,{split},3\n")
    done, dataset = run("hf", tmp_path / "source")
    assert done.failures == []
    rows = dataset.rows.select(["source_uri", "caption", "stars"]).to_pylist()
    assert sorted(map(tuple, (row.values() for row in rows))) == [
        ("test/a.mp4", "test", 3.0),
        ("train/a.mp4", "train", 3.0),
    ]


def test_zero_and_false_are_values_and_a_caption_of_digits_is_text(
    run: Callable[..., Any], tmp_path: Path, clips: list[bytes]
):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(2):
        (folder / f"v{number}.mp4").write_bytes(clips[number])
    lines = [
        {"file_name": f"v{number}.mp4", "text": "1984\u2028x", "score": number, "ok": bool(number), "video": 0}
        for number in range(2)
    ]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    _, dataset = run("hf", folder, source="video")
    rows = dataset.rows.select(["key", "score", "ok", "caption", "source_uri"]).to_pylist()
    assert [tuple(row.values()) for row in sorted(rows, key=lambda row: row["key"])] == [
        ("v0", 0.0, False, "1984\u2028x", "0"),
        ("v1", 1.0, True, "1984\u2028x", "0"),
    ]
    (folder / "list.csv").write_text("path,text\nv0.mp4,1984\n")
    assert [item.caption for item in read_csv(folder / "list.csv").items] == ["1984"]


@pytest.mark.parametrize(("name", "says"), [("jsonl", "no JSON"), ("parquet", "no readable Parquet")])
def test_damaged_metadata_is_named(tmp_path: Path, name: str, says: str):
    (tmp_path / f"metadata.{name}").write_bytes(b'{"file_name": "\xff"}')
    with pytest.raises(ConfigError, match=says):
        read_hf(tmp_path)


def test_a_file_outside_of_the_folder_is_a_failure_and_one_named_twice_is_refused(
    run: Callable[..., Any], tmp_path: Path, clips: list[bytes]
):
    (tmp_path / "source").mkdir()
    for path in (tmp_path / "outside.mp4", tmp_path / "source/a.mp4"):
        path.write_bytes(clips[0])
    names = [str(tmp_path / "outside.mp4"), "a.mp4"]
    (tmp_path / "source/metadata.jsonl").write_text("\n".join(json.dumps({"file_name": name}) for name in names))
    found = read_hf(tmp_path / "source")
    assert ([item.name for item in found.items], [one.code for one in found.failures]) == (["a.mp4"], ["missing_file"])
    (tmp_path / "source/list.csv").write_text("path\na.mp4\na.mp4\n")
    with pytest.raises(ConfigError, match=r"clip a\.mp4 is named more than once"):
        run("csv", tmp_path / "source/list.csv")


def test_an_interrupt_stops_all_threads_at_their_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[bytes] = []

    def probe(self: Prober, mp4: bytes) -> dict[str, Any]:
        asked.append(mp4)
        if mp4 == b"0":
            raise KeyboardInterrupt
        time.sleep(0.05)
        raise MediaError("not asked for", "not_mp4")

    monkeypatch.setattr(Prober, "probe", probe)
    for number in range(200):
        (tmp_path / f"v{number}.mp4").write_bytes(str(number).encode())
    (tmp_path / "list.csv").write_text("\n".join(["path", *(f"v{number}.mp4" for number in range(200))]))
    with pytest.raises(KeyboardInterrupt):
        import_dataset(tmp_path / "list.csv", tmp_path / "out", ImportConfig(kind="csv"), tmp_path, num_workers=2)
    assert len(asked) < 50


def test_importing_again_changes_nothing_and_more_is_appended(
    run: Callable[..., Any], make_tar: MakeTar, tmp_path: Path, clips: list[bytes]
):
    first = make_tar("a.tar", sample("one", clips[0], "a"))
    done, _ = run("webdataset", first)
    again, _ = run("webdataset", first)
    assert again.manifest == done.manifest
    more, dataset = run("webdataset", make_tar("b.tar", sample("two", clips[1], "b")))
    assert more.manifest.version == 2
    assert sorted(strings(dataset.rows, "key")) == ["one", "two"]


def test_a_key_of_another_sample_is_refused_before_anything_is_decoded_or_copied(
    run: Callable[..., Any], make_tar: MakeTar, tmp_path: Path, clips: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    """The second clip of this name has another size; the third has not, and is known by its checksum."""
    run("webdataset", make_tar("a.tar", sample("one", clips[0], "a")))
    files = sorted((tmp_path / "out").rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(Prober, "probe", lambda *_: pytest.fail("a clip was decoded"))
        with pytest.raises(ConfigError, match=r"key one \(1 such\) is that of another sample in shards/.*\.tar of"):
            run("webdataset", make_tar("b.tar", sample("one", clips[0] + bytes(8), "b")))
    with pytest.raises(ConfigError, match="a key is published once; rename the clips"):
        run("webdataset", make_tar("c.tar", sample("one", clips[0], "another caption")))
    assert sorted((tmp_path / "out").rglob("*")) == files


def test_each_clip_is_read_once_to_be_decoded_and_once_to_be_copied(
    run: Callable[..., Any], tmp_path: Path, clips: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    reads: list[str] = []
    read = Media.read
    monkeypatch.setattr(Media, "read", lambda media: (reads.append(media.path.name), read(media))[1])
    (tmp_path / "v.mp4").write_bytes(clips[0])
    (tmp_path / "list.csv").write_text("path\nv.mp4\n")
    run("csv", tmp_path / "list.csv")
    assert reads == ["v.mp4"] * 2


def test_a_clip_that_changes_meanwhile_stops_the_import(
    run: Callable[..., Any], tmp_path: Path, clips: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    probe = Prober.probe

    def probe_and_change(self: Prober, mp4: bytes) -> dict[str, Any]:
        (tmp_path / "v.mp4").write_bytes(bytes(len(mp4)))
        return probe(self, mp4)

    monkeypatch.setattr(Prober, "probe", probe_and_change)
    (tmp_path / "v.mp4").write_bytes(clips[0])
    (tmp_path / "list.csv").write_text("path\nv.mp4\n")
    with pytest.raises(ContractError, match=r"clip v\.mp4 has other bytes than a moment ago"):
        run("csv", tmp_path / "list.csv")


def test_an_adopted_tar_can_be_withdrawn_from_compacted_and_exported(
    run: Callable[..., Any], make_tar: MakeTar, tmp_path: Path, clips: list[bytes]
):
    tar = make_tar("a.tar", sample("one", clips[0], "a", mine=1) | sample("two", clips[1], "b", mine=2))
    before = tar.read_bytes()
    run("webdataset", tar)
    withdraw(tmp_path / "out", keys=["one"], reason="asked to")
    compact(tmp_path / "out", tmp_path)
    export(tmp_path / "out", tmp_path / "exported", tmp_path)
    for root in (tmp_path / "out", tmp_path / "exported"):
        assert verify(root, frames=True) == []
        assert open_dataset(root).read(0)["json"] == b'{"mine": 2}'
    assert tar.read_bytes() == before


def test_sources_that_are_not_what_they_are_called_are_refused(
    tmp_path: Path, run: Callable[..., Any], make_tar: MakeTar
):
    with pytest.raises(ConfigError, match=r"a folder with \.tar files or a tar is allowed"):
        run("webdataset", tmp_path / "source")
    with pytest.raises(ConfigError, match="a CSV file is allowed"):
        run("csv", tmp_path)
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"list\.csv has columns a, b; .* --path-column"):
        run("csv", tmp_path / "list.csv")
    with pytest.raises(ConfigError, match=r"metadata\.csv or metadata\.jsonl"):
        run("hf", tmp_path)
    with pytest.raises(ConfigError, match=r"no clip that can be imported; a\.tar/x: not_mp4"):
        run("webdataset", make_tar("a.tar", sample("x", b"nothing", "")))
