"""Typed configuration: YAML over frozen pydantic models, unknown keys refused with the nearest name.

A config names every knob once, with its unit in the name and its meaning in the field's description; the fully resolved
form is written into every output.
"""

import copy
import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from shards.errors import ConfigError
from shards.ids import digest

PRESET_PACKAGE = "configs"


class Config(BaseModel):
    """Base of every configuration model: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def resolved(self) -> dict[str, Any]:
        """All values, defaults included, as JSON-like data: what outputs store and hashes are made of."""
        return self.model_dump(mode="json")

    def sha256(self) -> str:
        """Hash of the resolved values."""
        return digest(self.resolved())

    def to_yaml(self) -> str:
        """The resolved values as YAML, in order of declaration."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)


C = TypeVar("C", bound=Config)


def load_config(model: type[C], source: str | Path, overrides: Iterable[str] = ()) -> C:
    """Read a preset name (`curate/scan_only`) or a YAML file, apply `key.sub=value` overrides, validate.

    Raises:
        ConfigError: no such file or preset, broken YAML, an unknown key (with the nearest name) or a bad value.
    """
    text = _read_text(source)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"config {source} is not valid YAML; {_one_line(error)}; fix the file") from error
    if not isinstance(data or {}, dict):
        raise ConfigError(f"config {source} is a {type(data).__name__}; a mapping of keys is allowed; fix the file")
    return parse_config(model, apply_overrides(data or {}, overrides), str(source))


def parse_config(model: type[C], data: Mapping[str, Any], source: str = "config") -> C:
    """Validate a mapping; every problem is named in one error."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        problems = [_explain(model, dict(problem)) for problem in error.errors(include_url=False)]
        raise ConfigError(f"{source}: " + "\n".join(problems)) from None


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Lay `key.sub=value` pairs (values are YAML) over a mapping; the input is not changed."""
    result = copy.deepcopy(dict(data))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"override is {override!r}; key.sub=value is allowed; write --set scan.height=72")
        *parents, leaf = key.split(".")
        node = result
        for parent in parents:
            child = node.get(parent)
            if child is None:
                child = node[parent] = {}
            if not isinstance(child, dict):
                raise ConfigError(
                    f"override {key} is below {parent}, which is {child!r}; only mappings have keys below"
                )
            node = child
        try:
            node[leaf] = yaml.safe_load(value)
        except yaml.YAMLError:
            node[leaf] = value
    return result


def preset_names(group: str) -> list[str]:
    """Names of the presets that ship in one group, e.g. `curate` -> ["curate/scan_only", …]."""
    folder = resources.files(PRESET_PACKAGE) / group
    return sorted(
        f"{group}/{entry.name.removesuffix('.yaml')}" for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def _read_text(source: str | Path) -> str:
    path = Path(source)
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"config {source} is not UTF-8 text; YAML is allowed; name another file") from error
    name = str(source).removeprefix(f"{PRESET_PACKAGE}/").removesuffix(".yaml")
    preset = resources.files(PRESET_PACKAGE).joinpath(*f"{name}.yaml".split("/"))
    if preset.is_file():
        return preset.read_text(encoding="utf-8")
    group = name.partition("/")[0] if "/" in name else "curate"
    known = preset_names(group) if (resources.files(PRESET_PACKAGE) / group).is_dir() else []
    near = difflib.get_close_matches(name, known, n=1) or known
    raise ConfigError(
        f"config is {str(source)!r}; a YAML file or a preset is allowed; try {', '.join(near) or 'a file'}"
    )


def _explain(model: type[BaseModel], problem: Mapping[str, Any]) -> str:
    location = [str(part) for part in problem["loc"]]
    where = ".".join(location)
    if problem["type"] == "extra_forbidden":
        names = _field_names(model, location[:-1])
        near = difflib.get_close_matches(location[-1], names, n=1)
        allowed = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(names)}"
        return f"{where} is not a known key; {allowed}; rename or remove it"
    if problem["type"] == "missing":
        return f"{where} is missing; it is required; set it in the file or with --set {where}=…"
    return f"{where} is {problem['input']!r}; {problem['msg']}; change it"


def _field_names(model: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the model found by walking `path` through nested models (containers and unions included)."""
    nodes: list[type[BaseModel]] = [model]
    for part in path:
        fields = [node.model_fields[part].annotation for node in nodes if part in node.model_fields]
        nodes = [found for annotation in fields for found in _models_in(annotation)] or nodes
    return sorted({name for node in nodes for name in node.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [cast(type[BaseModel], annotation)]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
