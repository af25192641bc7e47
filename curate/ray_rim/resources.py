"""What each step of the stream reserves on a cluster: pure, from the configuration and what the nodes have.

The configuration names what a process should have; a cluster that is too small for one process of each step gets them
all with smaller shares, so that one CPU runs everything. Shares of a GPU are the same. A GPU that is asked for and that
no node has is refused: a model would run on a CPU and nobody would have said so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from curate.config import RunConfig
from shards.errors import ConfigError

_SHRINK = 0.9
_EPSILON = 1e-9
_DIGITS = 1000  # Ray counts in ten thousandths


@dataclass(frozen=True)
class Node:
    """What one machine offers."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Share:
    """What one process of a step reserves, and how many there are at most."""

    cpus: float
    gpus: float
    most: int


@dataclass(frozen=True)
class Shares:
    """Of all steps.

    Attributes:
        scan: probe, key frames, scan, scenes, scores.
        pools: of model stages, in their order.
        pack: cut and commit.
    """

    scan: Share
    pools: tuple[Share, ...]
    pack: Share


def plan_shares(nodes: Sequence[Node], config: RunConfig, pools: Sequence[str]) -> Shares:
    """What to reserve.

    Args:
        nodes: of the cluster, those that are alive.
        config: what is asked for.
        pools: name of the first stage of each model pool.

    Raises:
        ConfigError: no node has a CPU, or a GPU is asked for and none has one.
    """
    cpus = sum(node.cpus for node in nodes)
    if not cpus:
        raise ConfigError("the Ray cluster has 0 CPUs; one is enough; add a node, or run with executor `local`")
    wanted = [_pool(config, name) for name in pools]
    gpus = sum(pool.gpus for pool in wanted)
    if gpus and not any(node.gpus for node in nodes):
        raise ConfigError(
            f"run asks for {gpus:g} GPUs for models and the Ray cluster has 0; 0 runs them on CPUs; set "
            "run.model_gpus=0, or add a node with a GPU"
        )
    (scan_cpus, _), *given = _fitted([(config.scan_cpus, 0.0), *((pool.cpus, pool.gpus) for pool in wanted)], nodes)
    most = _fewer([pool.most for pool in wanted], [share for share, _ in given], _room(scan_cpus, nodes))
    free = cpus - sum(share for share, _ in given)
    return Shares(
        Share(scan_cpus, 0.0, _at_most(free / scan_cpus, config.workers)),
        tuple(Share(*share, number) for share, number in zip(given, most, strict=True)),
        Share(scan_cpus, 0.0, _at_most(cpus / scan_cpus, config.workers)),
    )


def _pool(config: RunConfig, name: str) -> Share:
    """What is asked for a process of the pool that begins with this stage; what is not said is `run.model_…`."""
    own = config.pools.get(name)
    return Share(
        config.model_cpus if own is None or own.cpus is None else own.cpus,
        config.model_gpus if own is None or own.gpus is None else own.gpus,
        config.model_actors if own is None or own.actors is None else own.actors,
    )


def _at_most(fitting: float, workers: int) -> int:
    """Processes of a step: `workers` if it is given, and no more than fit."""
    fits = max(1, math.floor(fitting + 1e-6))
    return min(workers, fits) if workers else fits


def _fitted(asked: Sequence[tuple[float, float]], nodes: Sequence[Node]) -> list[tuple[float, float]]:
    """Shares (CPUs, GPUs) of which one each finds a place wherever the others lie; smaller by a factor if need be."""
    factor = 1.0
    while True:
        shares = [(_share(cpus, factor), _share(gpus, factor)) for cpus, gpus in asked]
        if all(_has_place(shares[index], shares[:index] + shares[index + 1 :], nodes) for index in range(len(shares))):
            return shares
        factor *= _SHRINK


def _fewer(most: Sequence[int], cpus: Sequence[float], room: float) -> list[int]:
    """Fewer processes of the largest pools, until all of them leave a scan its place on some node."""
    most = list(most)
    while sum(number * share for number, share in zip(most, cpus, strict=True)) > room and max(most, default=1) > 1:
        most[most.index(max(most))] -= 1
    return most


def _share(amount: float, factor: float) -> float:
    """A smaller amount, rounded down, never to nothing."""
    return max(1, math.floor(amount * factor * _DIGITS)) / _DIGITS if amount else 0.0


def _has_place(share: tuple[float, float], others: Sequence[tuple[float, float]], nodes: Sequence[Node]) -> bool:
    """Whether a process fits some node however Ray spreads the others: it does not pack them.

    Others block a node if they leave less than the share. Fewer processes than nodes leave one alone; else they must
    have less in all than it takes to block every node.
    """
    cpus, gpus = share
    able = [node for node in nodes if node.cpus >= cpus and node.gpus >= gpus]
    if not able or len(others) < len(able):
        return bool(able)
    if gpus and sum(other for _, other in others) > min(node.gpus - gpus for node in able):
        return False
    return sum(other for other, _ in others) <= _room(cpus, able) + _EPSILON


def _room(cpus: float, nodes: Sequence[Node]) -> float:
    """CPUs that others may have on all nodes together without blocking each of them for a process of this share."""
    return sum(node.cpus - cpus for node in nodes if node.cpus >= cpus)
