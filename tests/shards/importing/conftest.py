"""Foreign datasets, drawn."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.shards.conftest import draw_mp4

MakeTar = Callable[..., Path]


@pytest.fixture(scope="session")
def clips() -> list[bytes]:
    """Five clips that differ in number of frames (8 to 12) or size."""
    return [draw_mp4(num_frames=8 + number, width=64 if number < 4 else 96) for number in range(5)]


@pytest.fixture
def make_tar(tmp_path: Path) -> MakeTar:
    """make_tar(name, {member: bytes}, format) -> a tar below tmp_path / "source"."""

    def make(name: str, members: Mapping[str, bytes], tar_format: int = tarfile.USTAR_FORMAT) -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=tar_format) as tar:
            for member, data in members.items():
                info = tarfile.TarInfo(member)
                info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o444
                info.uname = info.gname = "bigdata"
                tar.addfile(info, io.BytesIO(data))
        return path

    return make


def sample(key: str, mp4: bytes, caption: str, **values: object) -> dict[str, bytes]:
    """Members in the order of the contract."""
    return {f"{key}.json": json.dumps(values).encode(), f"{key}.mp4": mp4, f"{key}.txt": caption.encode()}
