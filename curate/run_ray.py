"""The pipeline on a Ray cluster, with `curate/ray_rim` the only code that imports Ray.

One streaming Ray Data job carries parts from the probe to the captions: tasks for media, so that a lost node's parts go
to any other, and a pool of actors for each group of model stages, so that weights are loaded once. Packing is one task
per shard. Only names and costs travel through Ray; rows lie in the run directory, which all nodes must see, and are the
mechanism of resume: a part or shard that is there is not done again, whoever died.
"""

import json
import uuid
from collections import Counter as Count
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import ray.exceptions

from curate.config import RunConfig
from curate.modelling import Models
from curate.pack import ShardTask, finished_record
from curate.pipeline import Pipeline
from curate.ray_rim.connect import alive_nodes, connect
from curate.ray_rim.counters import Counters
from curate.ray_rim.resources import plan_shares
from curate.rundir import Part, RunDir
from curate.stage import FrameStage
from curate.worker import Job, Worker, join_costs
from shards.errors import ConfigError, ReelmillError, StoreError
from shards.packages import check_one_folder
from shards.schema import STATUS_FAILED

TASKS_PER_PROCESS = 2  # in work or waiting for it; more would only be held in memory
RETRIES = 3  # of an item whose process or node died; Ray's own number for tasks


class RayExecutor:
    """Runs parts and shards on an existing cluster (`address`), or on one that is started on this machine."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.ours = connect(config)
        self.counters = Counters()
        self.run_id = uuid.uuid4().hex

    def parts(self, job: Job, parts: Sequence[Part]) -> Iterator[Mapping[str, Any]]:
        """Scan every part in a task, model it in a pool of actors for each group of stages, as one stream."""
        self.counters.begin("scan", len(parts))
        if not parts:
            return
        groups = pools_of(Pipeline.of(job.config).ordered(job.models))
        shares = plan_shares(alive_nodes(), self.config, [names[0] for names in groups])
        scan: Any = partial(_scan, job, self.run_id, not groups)  # a batch is a mapping, which Ray types wider
        data = ray.data.from_items([_as_row(part) for part in parts], override_num_blocks=len(parts)).map_batches(
            scan,
            batch_size=1,
            compute=ray.data.TaskPoolStrategy(min(shares.scan.most, len(parts))),
            num_cpus=shares.scan.cpus,
        )
        for names, share in zip(groups, shares.pools, strict=True):
            data = data.map_batches(
                _ModelActor,
                fn_constructor_args=(job, names),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(
                    min_size=1, max_size=share.most, max_tasks_in_flight_per_actor=TASKS_PER_PROCESS
                ),
                num_cpus=share.cpus,
                num_gpus=share.gpus,
                ray_remote_args_fn=partial(dict, max_task_retries=RETRIES),
            )
        with _errors_of_workers():
            for row in data.iter_rows():
                costs = json.loads(row["costs"])
                self.counters.scanned(costs, json.loads(row["failed"]), row["is_new"])
                yield costs

    def shards(self, job: Job, tasks: Sequence[ShardTask]) -> Iterator[Mapping[str, Any]]:
        """Pack every shard as one task, on whichever node has room."""
        self.counters.begin("pack", len(tasks))
        if not tasks:
            return
        share = plan_shares(alive_nodes(), self.config, []).pack
        pack = _pack.options(num_cpus=share.cpus, max_retries=RETRIES, scheduling_strategy="SPREAD")
        waiting: list[ray.ObjectRef[tuple[Mapping[str, Any], bool]]] = []
        with _errors_of_workers():
            for task in tasks:  # a task is made when there is a place for it, not before
                if len(waiting) == TASKS_PER_PROCESS * share.most:
                    yield self._packed(waiting)
                waiting.append(pack.remote(job, self.run_id, task))
            while waiting:
                yield self._packed(waiting)

    def close(self) -> None:
        """Leave the cluster, or stop the one that was started here."""
        if self.ours:
            ray.shutdown()

    def _packed(self, waiting: "list[ray.ObjectRef[tuple[Mapping[str, Any], bool]]]") -> Mapping[str, Any]:
        """Wait for one shard and take it out."""
        (done,), waiting[:] = ray.wait(waiting, num_returns=1)
        record, is_new = ray.get(done)
        self.counters.packed(record, is_new)
        return record


def pools_of(pipeline: Pipeline) -> list[list[str]]:
    """Names of the model stages of each actor pool: those that `run.pools` names begin one; no weights, no pools.

    Raises:
        ConfigError: `run.pools` names a stage that this run does not have.
    """
    names = [stage.name for stage in pipeline.frame_stages]
    unknown = sorted(set(pipeline.config.run.pools) - set(names))
    if unknown:
        raise ConfigError(f"run.pools names {unknown}; model stages of this run are {names}; name one of them")
    if not any(_needs_weights(stage) for stage in pipeline.frame_stages):
        return []
    groups: list[list[str]] = [[]]
    for name in names:
        if groups[-1] and name in pipeline.config.run.pools:
            groups.append([])
        groups[-1].append(name)
    return groups


def _needs_weights(stage: FrameStage) -> bool:
    from curate.models.model_stage import ModelStage

    return not isinstance(stage, ModelStage) or bool(stage.needs())


def _as_row(part: Part) -> dict[str, Any]:
    """A part as a row of plain values: its inputs as an Arrow stream, never as a pickle."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, part.videos.schema) as writer:
        writer.write_table(part.videos)
    return {"name": part.name, "keys": json.dumps(part.keys), "videos": sink.getvalue().to_pybytes()}


def _as_part(batch: Mapping[str, Any]) -> Part:
    with pa.ipc.open_stream(batch["videos"][0]) as reader:
        return Part(str(batch["name"][0]), reader.read_all(), tuple(json.loads(batch["keys"][0])))


class _Held:
    """The worker of a task process, which outlives its tasks; another run gets another."""

    key: tuple[str, str, tuple[str, ...]] | None = None
    worker: Worker | None = None
    models: Models | None = None

    @classmethod
    def worker_of(cls, job: Job, run_id: str) -> Worker:
        key = (run_id, job.plan_id, job.models)
        if cls.worker is None or cls.key != key:
            check_one_folder()
            if cls.worker is not None:
                cls.worker.close()
            cls.worker, cls.models, cls.key = Worker(job), None, key
        return cls.worker

    @classmethod
    def models_of(cls, job: Job) -> Models:
        cls.models = Models(job) if cls.models is None else cls.models.again(job)  # models may change places
        return cls.models


def _scan(job: Job, run_id: str, with_models: bool, batch: dict[str, Any]) -> dict[str, Any]:
    """One part's media work; also its model stages if none of them has weights."""
    part, run_dir = _as_part(batch), RunDir(job.root)
    is_new = not (run_dir.part("videos", part.name).is_file() and run_dir.costs("scan", part.name).is_file())
    costs = _Held.worker_of(job, run_id).scan(part)
    videos = pq.read_table(run_dir.part("videos", part.name), columns=["status", "error"]).to_pylist()
    failed = Count(row["error"] or "unknown" for row in videos if row["status"] == STATUS_FAILED)
    if with_models:
        costs = join_costs(costs, _Held.models_of(job).run(part.name))
    return {"name": [part.name], "costs": [json.dumps(costs)], "failed": [json.dumps(failed)], "is_new": [is_new]}


class _ModelActor:
    """A process that holds the weights of some model stages."""

    def __init__(self, job: Job, names: Sequence[str]) -> None:
        check_one_folder()
        self.models = Models(job, names)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        costs = join_costs(json.loads(batch["costs"][0]), self.models.run(str(batch["name"][0])))
        return {**batch, "costs": [json.dumps(costs)]}


@ray.remote
def _pack(job: Job, run_id: str, task: ShardTask) -> tuple[Mapping[str, Any], bool]:
    """One shard; and whether it was made now."""
    is_new = finished_record(RunDir(job.root), job.plan_id, task.number) is None
    return _Held.worker_of(job, run_id).pack(task), is_new


@contextmanager
def _errors_of_workers() -> Iterator[None]:
    """Our own errors as if they were raised here; dead processes and lost nodes as what a rerun mends.

    Raises:
        ReelmillError: what a worker raised.
        StoreError: processes or nodes died more often than an item is retried.
    """
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ReelmillError):
            raise error.cause from None
        raise
    except (ray.exceptions.RaySystemError, ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise StoreError(_DIED) from error
    except (ray.exceptions.ActorDiedError, ray.exceptions.ObjectLostError, ray.exceptions.OutOfMemoryError) as error:
        raise StoreError(_DIED) from error


_DIED = "a Ray process or node died too often; what is finished is kept; run the same command again"
