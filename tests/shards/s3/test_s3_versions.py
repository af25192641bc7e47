"""Withdrawing for good on a real S3 server: tombstone, compaction, garbage collection by the server's own ages."""

import time
from pathlib import Path

import pytest

from shards.errors import StoreError
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.versions.collect import collect
from shards.versions.compact import compact
from shards.versions.export import export
from shards.versions.manifest import versions
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw
from tests.shards.faults.drivers import SHARDS, write_dataset
from tests.shards.s3.conftest import Bucket
from tests.shards.s3.proxy import Fault


def test_a_withdrawn_sample_leaves_the_bucket(bucket: Bucket, scratch: Path):
    write_dataset(bucket.uri, scratch, dict(enumerate(SHARDS)))
    everything = strings(open_dataset(bucket.uri).rows, "key")
    gone = everything[0]
    withdraw(bucket.uri, keys=[gone], reason="asked to")
    compact(bucket.uri, scratch)
    young = collect(bucket.uri, grace_s=3600, keep_versions=1, delete=True)
    assert (young.garbage, versions(bucket.open())) == ([], [1, 2, 3])
    collect(bucket.uri, grace_s=0, keep_versions=1, delete=True, now_s=time.time() + 60)
    store = bucket.open()
    assert versions(store) == [3]
    assert strings(open_dataset(bucket.uri).rows, "key") == sorted(set(everything) - {gone})
    assert all(f"clip {gone}".encode() not in store.get(item.path) for item in store.list("shards"))
    assert verify(bucket.uri) == []
    export(bucket.uri, scratch / "out", scratch)
    assert verify(scratch / "out") == []


def test_a_collection_that_the_network_stops_says_so_and_is_continued(bucket: Bucket, scratch: Path):
    write_dataset(bucket.uri, scratch, dict(enumerate(SHARDS)))
    withdraw(bucket.uri, keys=strings(open_dataset(bucket.uri).rows, "key")[:1], reason="asked to")
    later = time.time() + 60
    bucket.proxy.reset(Fault("403", "POST", "delete", times=99))
    with pytest.raises(StoreError, match=r"removing manifests/v000001\.json in s3://"):
        collect(bucket.uri, grace_s=0, keep_versions=1, delete=True, now_s=later)
    bucket.proxy.reset()
    collect(bucket.uri, grace_s=0, keep_versions=1, delete=True, now_s=later)
    assert versions(bucket.open()) == [2]
    assert verify(bucket.uri) == []
