"""To a cluster that runs, or to one started on this machine: token authentication, dashboard on loopback."""

import logging

import ray
import ray.data
import ray.exceptions

from curate.config import RunConfig
from curate.ray_rim.resources import Node
from shards.errors import ConfigError

TOKEN_ADVICE = "where it wants a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
OBJECT_STORE_BYTES = 256 << 20  # names and costs travel through Ray, rows and frames do not


def connect(config: RunConfig) -> bool:
    """Connect this process; returns whether it was not connected before, so that it is ours to leave.

    A cluster that is started here asks every process for a token (Ray sets `RAY_AUTH_MODE=token` unless the environment
    says otherwise, and makes a token in ~/.ray/auth_token if there is none) and shows its dashboard on
    `run.ray_dashboard_host`.

    Raises:
        ConfigError: no cluster at `run.ray_address`, or it wants another token.
    """
    quiet()
    if ray.is_initialized():
        return False
    try:
        if config.ray_address == "local":
            ray.init(
                address="local",
                include_dashboard=None if config.ray_dashboard_host else False,  # None: go on without if it is slow
                dashboard_host=config.ray_dashboard_host or "127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                configure_logging=False,
            )
        else:
            ray.init(address=config.ray_address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConfigError(
            f"run.ray_address is {config.ray_address}; {error}; start a cluster or use executor `local`; {TOKEN_ADVICE}"
        ) from error
    return True


def alive_nodes() -> list[Node]:
    """What the cluster's machines offer now."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(offer.get("CPU", 0.0), offer.get("GPU", 0.0)) for offer in found]


def quiet() -> None:
    """Ray Data's bars and plans are not for people who look at ours."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray._private.authentication"):
        logging.getLogger(name).setLevel(logging.ERROR)
