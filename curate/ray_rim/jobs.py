"""A curation run as a job on a running cluster, through Ray Jobs: sent, followed, its exit code handed back."""

import asyncio
import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ray.job_submission import JobStatus, JobSubmissionClient

from curate.config import load_curate_config
from curate.ray_rim.connect import TOKEN_ADVICE
from shards.errors import ConfigError, StoreError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
POLL_S = 0.5
EXIT_STOPPED = 1


@dataclass(frozen=True)
class CurationJob:
    """What to run on a cluster.

    Attributes:
        config: preset, or a YAML file: of the working folder if there is one, else a path on the cluster.
        inputs: as for `curate run`; paths and uris as the cluster sees them.
        output: run folder that all nodes see.
        overrides: `KEY=VALUE`, as for `curate run`.
        working_dir: folder that is sent along and that the job runs in.
        runtime_env: Ray's further fields of it: pip, env_vars, …
        python: command of the interpreter on the cluster.
    """

    config: str
    inputs: Sequence[str]
    output: str
    overrides: Sequence[str] = ()
    working_dir: Path | None = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    python: str = "python"

    def entrypoint(self) -> str:
        """The command that the cluster runs."""
        words = [self.python, "-m", "reelmill", "curate", "run", self._config(), *self.inputs, "--output", self.output]
        overrides = [*self.overrides, "run.ray_address=auto"]
        sets = [word for override in overrides for word in ("--set", override)]
        return shlex.join([*words, "--executor", "ray", *sets])

    def environment(self) -> dict[str, Any]:
        """Ray's runtime_env."""
        folder = {} if self.working_dir is None else {"working_dir": str(self.working_dir.resolve())}
        return {**self.runtime_env, **folder}

    def check(self) -> None:
        """Refuse here what would fail there.

        Raises:
            ConfigError: the configuration does not load, its file is not sent along, or the output is relative.
        """
        load_curate_config(self.config, self.overrides)
        self._config()
        if not Path(self.output).is_absolute():
            raise ConfigError(
                f"--output is {self.output}; an absolute path that every node sees is allowed, since the job's own "
                "folder is gone after it; name a shared folder"
            )
        if self.working_dir is not None and not self.working_dir.is_dir():
            raise ConfigError(f"--working-dir is {self.working_dir}; a folder is allowed; name one that exists")

    def _config(self) -> str:
        """The configuration as the job names it."""
        path = Path(self.config)
        if self.working_dir is None or not path.is_file():
            return self.config
        try:
            return str(path.resolve().relative_to(self.working_dir.resolve()))
        except ValueError:
            raise ConfigError(
                f"CONFIG is {path}; files below --working-dir {self.working_dir} are sent; move it there"
            ) from None


def read_runtime_env(path: Path | None) -> dict[str, Any]:
    """A runtime_env from a YAML or JSON file.

    Raises:
        ConfigError: there is no such file, or it holds no mapping.
    """
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"--runtime-env is {path}; {error}; name a YAML or JSON file") from error
    if not isinstance(found, dict):
        raise ConfigError(f"--runtime-env {path} holds {json.dumps(found)}; a mapping is allowed; see Ray's docs")
    return found


def send(job: CurationJob, address: str) -> tuple[JobSubmissionClient, str]:
    """Start a job; returns the client and the job's id.

    Raises:
        ConfigError: the job cannot be right, no cluster answers, or it refuses the token.
    """
    job.check()
    try:
        client = JobSubmissionClient(address)
        return client, client.submit_job(entrypoint=job.entrypoint(), runtime_env=job.environment())
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--address is {address}; {error}; the dashboard of a running cluster is allowed; {TOKEN_ADVICE}"
        ) from error


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], object]) -> int:
    """Write a job's log as it grows until it ends; returns its exit code.

    Raises:
        StoreError: the cluster lost the job.
    """
    asyncio.run(_tail(client, job_id, write))
    while not (status := client.get_job_status(job_id)).is_terminal():  # the log ends a moment before the job
        time.sleep(POLL_S)
    info = client.get_job_info(job_id)
    if status is JobStatus.SUCCEEDED:
        return 0
    if status is JobStatus.STOPPED:
        write(f"job {job_id} was stopped\n")
        return EXIT_STOPPED
    if info.driver_exit_code is None:
        raise StoreError(f"job {job_id} failed; {info.message}; look at the cluster, then submit it again")
    return info.driver_exit_code


async def _tail(client: JobSubmissionClient, job_id: str, write: Callable[[str], object]) -> None:
    async for lines in client.tail_job_logs(job_id):
        write(lines)
