"""What `reelmill curate submit` does: a job on a running cluster, or a file that makes a cluster for one run."""

import sys
from collections.abc import Sequence
from pathlib import Path

from curate.ray_rim.jobs import CurationJob, follow, read_runtime_env, send
from curate.ray_rim.templates import ClusterConfig, render
from shards.config import apply_overrides, parse_config


def make_job(
    config: str,
    inputs: Sequence[str],
    output: str,
    overrides: Sequence[str],
    working_dir: Path | None,
    runtime_env: Path | None,
    python: str,
) -> CurationJob:
    """The job that the command line names."""
    return CurationJob(config, inputs, output, overrides, working_dir, read_runtime_env(runtime_env), python)


def print_template(template: str, job: CurationJob, overrides: Sequence[str]) -> None:
    """Print the file to standard output."""
    job.check()
    cluster = parse_config(ClusterConfig, apply_overrides({}, overrides), "--cluster")
    sys.stdout.write(render(template, job.entrypoint(), cluster, job.python))


def submit_job(job: CurationJob, address: str, wait: bool) -> int:
    """Send the job; returns the exit code: the job's if it is waited for, else 0."""
    client, job_id = send(job, address)
    print(job_id)
    if not wait:
        print(f"follow it: ray job logs --follow --address {address} {job_id}", file=sys.stderr)
        return 0
    try:
        return follow(client, job_id, sys.stderr.write)
    except KeyboardInterrupt:
        print(f"\n{job_id} goes on; ray job stop --address {address} {job_id} ends it", file=sys.stderr)
        raise
