from pathlib import Path

import pytest
from pydantic import Field

from shards.config import Config, apply_overrides, load_config, parse_config
from shards.errors import ConfigError


class Inner(Config):
    interval_s: float = Field(default=1.0, gt=0, description="Seconds between frames.")


class Outer(Config):
    inner: Inner = Inner()
    optional: Inner | None = None
    name: str


def test_an_unknown_key_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"inner\.intervall_s is not a known key; did you mean interval_s\?"):
        parse_config(Outer, {"name": "a", "inner": {"intervall_s": 2}})


def test_an_unknown_key_below_an_optional_model_is_explained_too():
    with pytest.raises(ConfigError, match=r"did you mean interval_s\?"):
        parse_config(Outer, {"name": "a", "optional": {"interval": 2}})


def test_a_missing_key_says_how_to_set_it():
    with pytest.raises(ConfigError, match="name is missing; it is required; set it in the file or with --set name=…"):
        parse_config(Outer, {})


def test_a_bad_value_names_its_place_and_what_is_allowed():
    with pytest.raises(ConfigError, match=r"inner\.interval_s is -1; Input should be greater than 0"):
        parse_config(Outer, {"name": "a", "inner": {"interval_s": -1}})


def test_overrides_are_yaml_and_make_the_mappings_they_need():
    assert apply_overrides({"name": "a"}, ["inner.interval_s=0.5", "name=[b]"]) == {
        "name": ["b"],
        "inner": {"interval_s": 0.5},
    }


def test_an_override_keeps_an_expression_with_an_equals_sign():
    assert apply_overrides({}, ["keep.motion=flow_mag >= 0.5"]) == {"keep": {"motion": "flow_mag >= 0.5"}}


@pytest.mark.parametrize(("override", "message"), [("name", "key.sub=value is allowed"), ("name.sub=1", "below name")])
def test_a_broken_override_is_refused(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        apply_overrides({"name": "a"}, [override])


def test_broken_yaml_is_a_config_error_with_its_line(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: [a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is not valid YAML; .*line 2"):
        load_config(Outer, path)


def test_a_missing_preset_names_the_nearest_one():
    with pytest.raises(ConfigError, match=r"config is 'curate/scan_onli'; .* try curate/scan_only"):
        load_config(Outer, "curate/scan_onli")


def test_the_hash_depends_on_values_and_not_on_what_was_written_out():
    written = parse_config(Outer, {"name": "a", "inner": {"interval_s": 1.0}})
    assert written.sha256() == parse_config(Outer, {"name": "a"}).sha256()
    assert written.sha256() != parse_config(Outer, {"name": "b"}).sha256()
