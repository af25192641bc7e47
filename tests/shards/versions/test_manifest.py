import json
from collections.abc import Callable
from pathlib import Path

import jsonschema

from shards.versions.manifest import Manifest, manifest_path, manifest_schema
from shards.versions.withdraw import withdraw

DOCS = Path(__file__).parents[3] / "docs"


def test_the_published_json_schema_is_current():
    """After a change of the model: `reelmill shards schema > docs/manifest.schema.json`."""
    assert (DOCS / "manifest.schema.json").read_text(encoding="utf-8") == manifest_schema()


def test_manifests_fit_the_schema_and_damaged_ones_do_not(tmp_path: Path, dataset_of: Callable[..., Manifest]):
    schema = json.loads((DOCS / "manifest.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    dataset_of(3)
    withdraw(tmp_path / "dataset", keys=["clip-001"], reason="asked to", date="2026-11-22")
    for version in (1, 2):
        manifest = json.loads((tmp_path / "dataset" / manifest_path(version)).read_bytes())
        validator.validate(manifest)
        for change in ({"format_version": 2}, {"shards": []}, {"surprise": 1}, {"version": 0}):
            assert not validator.is_valid(manifest | change)
        for name in manifest.keys() - {"withdrawn"}:
            assert not validator.is_valid({key: value for key, value in manifest.items() if key != name})


def test_a_manifest_without_tombstones_does_not_speak_of_them(tmp_path: Path, dataset_of: Callable[..., Manifest]):
    assert b"withdrawn" not in dataset_of(2).to_bytes()
    assert b'"withdrawn"' in withdraw(tmp_path / "dataset", keys=["clip-001"], reason="asked to").to_bytes()
