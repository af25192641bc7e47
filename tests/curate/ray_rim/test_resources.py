import pytest

from curate.config import RunConfig
from curate.ray_rim.resources import Node, Share, plan_shares
from shards.config import parse_config
from shards.errors import ConfigError


def run(**values: object) -> RunConfig:
    return parse_config(RunConfig, values)


def test_without_models_every_cpu_scans():
    shares = plan_shares([Node(2)], run(), [])
    assert shares.scan == shares.pack == Share(1, 0, 2)
    assert shares.pools == ()


def test_models_take_their_share_and_scans_the_rest():
    """Four CPUs less half a one for the model process are three scans and a half."""
    shares = plan_shares([Node(4)], run(), ["embed"])
    assert (shares.scan, shares.pools) == (Share(1, 0, 3), (Share(0.5, 0, 1),))


def test_one_cpu_runs_everything_with_smaller_shares():
    """1 + 0.5 + 0.5 do not fit one CPU; 0.9 to the seventh is the first factor that halves them."""
    shares = plan_shares([Node(1)], run(), ["embed", "caption"])
    assert shares.scan == Share(0.478, 0, 1)
    assert shares.pools == (Share(0.239, 0, 1), Share(0.239, 0, 1))


def test_a_process_must_fit_one_node_and_not_their_sum():
    shares = plan_shares([Node(1), Node(1)], run(model_cpus=2), ["embed"])
    assert shares.pools[0].cpus <= 1
    assert shares.scan.cpus <= 1


def test_pools_on_every_node_still_leave_a_scan_its_place():
    """Ray spreads: one pool on each node of one CPU leaves 0.5 and 0.75, so a scan may not ask for more than both."""
    shares = plan_shares([Node(1), Node(1)], run(pools={"caption": {"cpus": 0.25}}), ["embed", "caption"])
    embed, caption = shares.pools
    assert embed.cpus + caption.cpus <= 2 * (1 - shares.scan.cpus)
    assert shares.scan.cpus == pytest.approx(2 * embed.cpus, abs=0.002)


def test_many_processes_of_a_pool_are_fewer_where_they_would_leave_no_scan_a_place():
    """Beside a scan of one CPU, four have room for six of 0.5."""
    assert plan_shares([Node(4)], run(model_actors=20), ["embed"]).pools == (Share(0.5, 0, 6),)
    assert plan_shares([Node(64, 8)] * 2, run(model_actors=32, model_gpus=0.5), ["embed"]).pools[0].most == 32


def test_each_pool_has_its_own_resources_and_the_rest_is_the_default():
    config = run(model_gpus=0.25, model_actors=2, pools={"caption": {"gpus": 0.5, "actors": 4}})
    shares = plan_shares([Node(16, 2)], config, ["embed", "caption"])
    assert shares.pools == (Share(0.5, 0.25, 2), Share(0.5, 0.5, 4))


def test_two_pools_share_a_gpu_that_is_too_small_for_what_they_ask():
    shares = plan_shares([Node(16, 1)], run(model_gpus=1), ["embed", "caption"])
    assert shares.pools[0].gpus == shares.pools[1].gpus <= 0.5


def test_a_gpu_that_no_node_has_is_refused():
    with pytest.raises(ConfigError, match=r"asks for 0\.5 GPUs for models and the Ray cluster has 0"):
        plan_shares([Node(8)], run(model_gpus=0.5), ["embed"])


def test_workers_is_the_most_and_a_cluster_without_cpus_is_refused():
    assert plan_shares([Node(8)], run(workers=3), []).scan.most == 3
    with pytest.raises(ConfigError, match="has 0 CPUs"):
        plan_shares([], run(), [])
