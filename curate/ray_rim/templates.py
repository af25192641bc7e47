"""A whole cluster for one curation run, as a file: a RayJob for KubeRay, a batch script for Slurm."""

import re
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from pydantic import Field, field_validator

import configs
from shards.config import Config
from shards.errors import ConfigError

TEMPLATES = {"kuberay": "kuberay.yaml.j2", "slurm": "slurm.sh.j2"}
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?$")
_QUANTITY = re.compile(r"^[0-9]+(\.[0-9]+)?([EPTGMk]i?)?$")


class ClusterConfig(Config):
    """What a template is filled with, beside the command."""

    job_name: str = Field(default="reelmill-curate", description="Lower-case letters, digits and dashes.")
    image: str = Field(default="reelmill:latest", description="KubeRay: container image with reelmill and Ray.")
    claim: str = Field(default="reelmill-data", description="KubeRay: claim of the volume that all nodes share.")
    data_path: str = Field(default="/data", description="KubeRay: where the volume is mounted.")
    workers: int = Field(default=2, ge=0, description="Nodes beside the head.")
    node_cpus: int = Field(default=8, ge=1, description="CPUs of a node.")
    node_gpus: int = Field(default=0, ge=0, description="GPUs of a node.")
    node_memory: str = Field(default="32Gi", description="KubeRay: memory of a node.")
    head_cpus: int = Field(default=8, ge=0, description="KubeRay: CPUs of the head that take work; 0: none.")
    retries: int = Field(default=2, ge=0, description="KubeRay: times the job is tried again.")
    time_limit: str = Field(default="24:00:00", description="Slurm: wall-clock limit.")
    port: int = Field(default=6379, ge=1024, le=65535, description="Slurm: port of the head.")
    token_folder: str = Field(default="${HOME}", description="Slurm: folder that all nodes see, for the token's file.")

    @field_validator("job_name", "claim")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not _NAME.match(name):
            raise ValueError(f"{name!r}; up to 47 lower-case letters, digits and inner dashes are allowed")
        return name

    @field_validator("node_memory")
    @classmethod
    def _is_quantity(cls, amount: str) -> str:
        if not _QUANTITY.match(amount):
            raise ValueError(f"{amount!r}; a quantity of Kubernetes is allowed, as 32Gi")
        return amount

    @field_validator("data_path", "time_limit", "image")
    @classmethod
    def _is_plain(cls, text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._/:@-]+", text):
            raise ValueError(f"{text!r}; letters, digits and . _ / : @ - are allowed")
        return text


def render(template: str, entrypoint: str, config: ClusterConfig, python: str = "python") -> str:
    """The file's text.

    Args:
        template: one of TEMPLATES.
        entrypoint: the shell command that runs on the cluster.
        config: the rest.
        python: interpreter of the nodes.

    Raises:
        ConfigError: there is no such template.
    """
    if template not in TEMPLATES:
        raise ConfigError(f"--template is {template}; {', '.join(TEMPLATES)} are allowed; name one of them")
    folder = Path(configs.__path__[0]) / "cluster"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=False,
        autoescape=False,  # YAML and shell: values are checked or quoted
    )
    environment.filters["shell"] = _shell
    values: dict[str, Any] = config.model_dump() | {"entrypoint": entrypoint, "ray_version": version("ray")}
    return environment.get_template(TEMPLATES[template]).render(values | {"python": shlex.quote(python)})


def _shell(text: str) -> str:
    """A word of the shell in which ${HOME} and no other variable still counts."""
    return "".join('"${HOME}"' if part == "${HOME}" else shlex.quote(part) for part in _split_home(text) if part)


def _split_home(text: str) -> list[str]:
    return re.split(r"(\$\{HOME\})", text)
