"""Packages of other projects that shadow ours are named."""

import sys
from pathlib import Path

import pytest

from shards.errors import ConfigError
from shards.packages import HOME, check_one_folder, foreign_packages, package_path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of the search path with a module and a package of common names."""
    (tmp_path / "reel_module_x.py").write_text("raise SystemExit('imported')")
    (tmp_path / "reel_package_x").mkdir()
    (tmp_path / "reel_package_x" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_our_packages_lie_in_one_folder():
    check_one_folder()
    assert package_path("shards") == HOME / "shards"


def test_a_foreign_module_is_named_without_importing_it(elsewhere: Path):
    with pytest.raises(ConfigError, match=r"package reel_module_x is .*reel_module_x\.py; .*rename the other file"):
        check_one_folder(["shards", "reel_module_x"])
    assert "reel_module_x" not in sys.modules


def test_a_foreign_package_is_named(elsewhere: Path):
    assert foreign_packages(["reel_package_x"]) == {"reel_package_x": elsewhere / "reel_package_x"}


def test_a_missing_package_is_named():
    with pytest.raises(ConfigError, match="package reel_nowhere_x is missing"):
        check_one_folder(["reel_nowhere_x"])


def test_a_package_at_its_place_is_not_foreign(elsewhere: Path):
    assert foreign_packages(["reel_package_x"], home=elsewhere) == {}
