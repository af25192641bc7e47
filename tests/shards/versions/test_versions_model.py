"""Any sequence of operations on versions, against a model of sets."""

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shards.errors import ContractError
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import LocalFolder
from shards.versions.append import append
from shards.versions.collect import collect
from shards.versions.compact import compact, partly_published
from shards.versions.manifest import read_manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from shards.versions.withdraw import lift, withdraw
from tests.shards.faults.drivers import commit_bare

SPLITS = SplitConfig(val=0.3)


class Versions(RuleBasedStateMachine):
    """One dataset; each shard that is appended holds three new samples, every sample is its own source."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.scratch = Path(self.folder.name)
        self.store = LocalFolder(self.scratch / "dataset")
        self.num_shards = 0
        self.published: set[str] = set()
        self.withdrawn: set[str] = set()
        self.append()

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule()
    def append(self) -> None:
        keys = [f"s{self.num_shards}-{number}" for number in range(3)]
        append(self.store, [commit_bare(self.store, self.scratch, self.num_shards, keys, "a")], {}, SPLITS)
        self.num_shards += 1
        self.published |= set(keys)

    @precondition(lambda self: len(self.published) > 1)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.published)))
        withdraw(self.store, keys=[key], reason="asked to")
        self.published.discard(key)
        self.withdrawn.add(key)

    @precondition(lambda self: self.withdrawn)
    @rule(data=st.data())
    def lift(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.withdrawn)))
        lift(self.store, keys=[key])
        self.withdrawn.discard(key)

    @rule(data=st.data())
    def publish_some_of_the_newest_shards(self, data: st.DataObject) -> None:
        newest = read_manifest(self.store)
        held = self._held()
        keep = data.draw(st.sets(st.sampled_from(sorted(held)), min_size=1))
        if keep <= self.withdrawn:
            with pytest.raises(ContractError, match="0 samples"):
                publish(self.store, newest.shards, {}, SPLITS, keep)
            return
        publish(self.store, newest.shards, {}, SPLITS, keep)
        self.published = keep - self.withdrawn

    @rule()
    def compact(self) -> None:
        compact(self.store, self.scratch)
        assert partly_published(self.store, read_manifest(self.store)) == {}
        assert self._held() == self.published

    @rule(keep=st.integers(1, 3))
    def collect(self, keep: int) -> None:
        collect(self.store, grace_s=0, keep_versions=keep, delete=True, now_s=time.time() + 60)

    @invariant()
    def the_newest_version_publishes_what_the_model_says(self) -> None:
        assert set(strings(open_dataset(self.store).rows, "key")) == self.published
        assert verify(self.store) == []

    def _held(self) -> set[str]:
        """Keys in the tars of the newest version, published or not."""
        tars = [self.store.get(commit.shard.path) for commit in read_manifest(self.store).shards]
        names = {f"s{shard}-{number}" for shard in range(self.num_shards) for number in range(3)}
        return {name for name in names if any(f"{name}.mp4".encode() in tar for tar in tars)}


@pytest.mark.slow
def test_no_sequence_of_operations_breaks_a_promise():
    from hypothesis.stateful import run_state_machine_as_test

    quiet = settings(
        max_examples=30,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    run_state_machine_as_test(Versions, settings=quiet)
