"""The doctor finds what is there, names what is not, and imports nothing heavy."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from reelmill import doctor, doctor_media, doctor_packages
from reelmill.doctor_check import Check
from shards.packages import HOME


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return doctor.collect({})


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def printed(checks: list[Check]) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(doctor.render(checks))
    return capture.get()


def test_versions_and_the_ffmpeg_that_will_run_are_named(checks: list[Check]):
    import imageio_ffmpeg

    assert named(checks, "reelmill").value == metadata.version("reelmill")
    assert named(checks, "one folder").value == str(HOME)
    assert imageio_ffmpeg.get_ffmpeg_exe() in named(checks, "ffmpeg").value
    assert named(checks, "libx264").state == "ok"


def test_every_state_is_known_and_every_absence_says_what_it_would_give(checks: list[Check]):
    assert {check.state for check in checks} <= {"ok", "missing", "problem"}
    assert all(check.gives for check in checks if check.state == "missing")


def test_nothing_heavy_is_imported():
    code = "import sys, reelmill.doctor; print(sorted({'torch', 'ray', 'webdataset', 'cv2', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME)
    assert done.stdout.strip() == "[]"


def test_an_extra_that_is_not_installed_says_how_to_get_it():
    check = doctor_packages._extra("ocr", ["rich", "no-such-distribution"])
    assert (check.state, check.value) == ("missing", "missing: no-such-distribution")
    assert check.gives == "pip install 'reelmill[ocr]': text area scores by OCR"


def test_a_missing_requirement_is_a_problem():
    assert doctor_packages._extra("", ["no-such-distribution"]).state == "problem"


def test_requirements_are_read_from_the_package_itself():
    required = doctor_packages._requirements()
    assert "pyarrow" in required[""]
    assert "torch" in required["models"]
    assert "reelmill" not in {name for names in required.values() for name in names}


def test_two_opencv_wheels_are_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("opencv_python", "opencv_python_headless", "opencv_stubs"):
        folder = tmp_path / f"{name}-4.12.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 4.12.0\n")
    wheels = list(metadata.distributions(path=[str(tmp_path)]))
    monkeypatch.setattr(doctor_packages.metadata, "distributions", lambda: wheels)
    check = doctor_packages._opencv()
    assert (check.state, check.value) == ("problem", "opencv-python 4.12.0, opencv-python-headless 4.12.0")


def test_an_ffmpeg_that_does_not_run_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    (check,) = doctor_media._ffmpeg()
    assert (check.name, check.state) == ("ffmpeg", "problem")


def test_an_encoder_counts_only_with_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(doctor_media, "NVIDIA_DRIVER", tmp_path / "absent")
    assert doctor_media._encoder("h264_nvenc", "", {"h264_nvenc"}).state == "missing"
    assert doctor_media._encoder("libx264", "", {"libx264"}).state == "ok"
    assert doctor_media._encoder("libx264", "", set()).state == "missing"


def test_model_folders_are_listed(tmp_path: Path):
    (tmp_path / "head.pth").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "blip2").mkdir()
    (tmp_path / "blip2" / "config.json").write_text(json.dumps({"model_type": "blip-2"}))
    checks = doctor._models({"REELMILL_MODELS": str(tmp_path), "REELMILL_CAPTIONER": str(tmp_path / "blip2")})
    assert named(checks, "REELMILL_MODELS").value == f"{tmp_path}: blip2/, head.pth"
    assert named(checks, "REELMILL_CAPTIONER").state == "ok"
    assert named(checks, "REELMILL_REAL_VIDEOS").state == "missing"


@pytest.mark.parametrize("text", ["{}", "no json", "[]", '{"model_type": "bert"}'])
def test_a_captioner_folder_of_another_kind_is_a_problem(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text)
    assert doctor._captioner({"REELMILL_CAPTIONER": str(tmp_path)}).state == "problem"


def test_a_models_variable_that_names_no_folder_is_a_problem(tmp_path: Path):
    checks = doctor._models({"REELMILL_MODELS": str(tmp_path / "absent")})
    assert named(checks, "REELMILL_MODELS").state == "problem"
    assert doctor.has_problem(checks)


def test_values_are_printed_as_they_are_and_not_as_markup():
    text = printed([Check("area", "name", "problem", "/a/[bold]b", "do [this]")])
    assert "/a/[bold]b" in text
    assert "do [this]" in text
    assert "problem" in text
