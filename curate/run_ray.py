"""The pipeline on a Ray cluster: the only file that imports Ray.

One streaming Ray Data job carries parts from the scan to the models (back-pressure, actor pools); packing is one task
per shard. Only names and costs travel through Ray; rows lie in the run directory, which all nodes must see.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import ray
import ray.data

from curate.config import RunConfig
from curate.modelling import Models
from curate.pack import ShardTask
from curate.rundir import Part
from curate.worker import Job, Worker, join_costs
from shards.errors import ConfigError
from shards.packages import check_one_folder


class RayExecutor:
    """Runs parts and shards on an existing cluster (`address`), or on one that is started on this machine."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.started = not ray.is_initialized()
        if self.started:
            _connect(config.ray_address)
        ray.data.DataContext.get_current().enable_progress_bars = False

    def parts(self, job: Job, parts: Sequence[Part]) -> Iterator[Mapping[str, Any]]:
        """Scan every part in a pool of worker actors, model it in a pool of model actors, as one stream."""
        workers = self._num_workers(len(parts), reserved_cpus=self.config.model_cpus)
        data = ray.data.from_items([{"index": index} for index in range(len(parts))], override_num_blocks=len(parts))
        known = ray.put(list(parts))
        data = data.map_batches(
            _ScanActor,
            fn_constructor_args=(job, known),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=self.config.scan_cpus,
        ).map_batches(
            _ModelActor,
            fn_constructor_args=(job, known),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self.config.model_actors),
            num_cpus=self.config.model_cpus,
            num_gpus=self.config.model_gpus,
        )
        for row in data.iter_rows():
            yield json.loads(row["costs"])

    def shards(self, job: Job, tasks: Sequence[ShardTask]) -> Iterator[Mapping[str, Any]]:
        """Pack every shard as one task of an actor pool."""
        if not tasks:
            return
        actors = [
            _PackActor.options(num_cpus=self.config.scan_cpus).remote(job)
            for _ in range(self._num_workers(len(tasks), 0))
        ]
        try:
            pool = ray.util.ActorPool(actors)
            for task in tasks:  # a task is made when an actor is free, not before
                if not pool.has_free():
                    yield cast(Mapping[str, Any], pool.get_next_unordered())
                pool.submit(_pack, task)
            while pool.has_next():
                yield cast(Mapping[str, Any], pool.get_next_unordered())
        finally:
            for actor in actors:
                ray.kill(cast(Any, actor))

    def close(self) -> None:
        """Leave the cluster, or stop the one that was started here."""
        if self.started:
            ray.shutdown()

    def _num_workers(self, num_items: int, reserved_cpus: float) -> int:
        """As many as fit the cluster, at most; an actor that does not fit would wait for ever.

        Raises:
            ConfigError: not even one fits.
        """
        cpus = ray.cluster_resources().get("CPU", 0)
        fitting = int((cpus - reserved_cpus) // self.config.scan_cpus)
        if fitting < 1:
            needed = f"run.scan_cpus {self.config.scan_cpus} and {reserved_cpus} for a model process"
            raise ConfigError(f"cluster has {cpus} CPUs; {needed} are needed; lower run.scan_cpus or run.model_cpus")
        return max(1, min(self.config.workers or fitting, fitting, num_items))


def _connect(address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"run.ray_address is {address}; {error}; start a cluster or use `local`") from error


class _ScanActor:
    """A worker process of the scan; holds one safe child."""

    def __init__(self, job: Job, parts: "ray.ObjectRef[list[Part]]") -> None:
        check_one_folder()
        self.worker, self.parts = Worker(job), ray.get(parts)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        index = int(batch["index"][0])
        return {"index": [index], "costs": [json.dumps(self.worker.scan(self.parts[index]))]}


class _ModelActor:
    """A process that holds the models' weights."""

    def __init__(self, job: Job, parts: "ray.ObjectRef[list[Part]]") -> None:
        check_one_folder()
        self.models, self.parts = Models(job), ray.get(parts)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        costs = join_costs(json.loads(batch["costs"][0]), self.models.run(self.parts[int(batch["index"][0])].name))
        return {"costs": [json.dumps(costs)]}


@ray.remote
class _PackActor:
    """A worker process of packing."""

    def __init__(self, job: Job) -> None:
        check_one_folder()
        self.worker = Worker(job)

    def pack(self, task: ShardTask) -> Mapping[str, Any]:
        return self.worker.pack(task)


def _pack(actor: Any, task: ShardTask) -> Any:
    return actor.pack.remote(task)
