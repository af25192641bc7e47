"""How bytes are read: nothing here decides which samples are in which batch."""

from typing import Literal

from pydantic import Field

from shards.config import Config


class ChildLimits(Config):
    """What decoding one clip in a child may cost at most."""

    memory_bytes: int = Field(default=3 << 30, ge=512 << 20, description="Address space of the child (RLIMIT_AS).")
    cpu_s: float = Field(default=120.0, gt=0, description="CPU seconds of one clip (RLIMIT_CPU).")
    deadline_s: float = Field(default=60.0, gt=0, description="Wall-clock seconds of one clip, child start included.")


class CacheConfig(Config):
    """Whole shards of remote datasets on a local disk."""

    dir: str = Field(description="Folder; processes and runs of a machine may share it.")
    limit_bytes: int = Field(
        default=64 << 30, gt=0, description="What lies in it at most; what was not used for longest leaves first."
    )


class ReadingConfig(Config):
    """Waiting, damage, trust, storage."""

    timeout_s: float = Field(default=600.0, gt=0, description="No batch for so long is an error, not a wait.")
    prefetch_factor: int = Field(
        default=2, gt=0, description="Batches that each decoding process works ahead; none without processes."
    )
    start: Literal["forkserver", "spawn"] = Field(
        default="forkserver",
        description="How decoding processes begin: forked from a process that has imported torch once, or each anew.",
    )
    on_damage: Literal["raise", "substitute"] = Field(
        default="raise",
        description="A sample whose bytes are not those that were published, or do not decode: stop, or put the next "
        "intact sample of the same global batch in its place, log it, and keep it in the position.",
    )
    trust: Literal["auto", "trusted", "untrusted"] = Field(
        default="auto",
        description="Which clips are decoded in the loader's own processes: all (trusted), none (untrusted: in a child "
        "without network and with limits), or those that curation encoded itself (auto: cut_mode is encode).",
    )
    child: ChildLimits = Field(default_factory=ChildLimits, description="Limits of the child.")
    cache: CacheConfig | None = Field(
        default=None, description="Fetch whole shards of a remote dataset; null: ranged reads of single members."
    )
    parallel_reads: int = Field(
        default=8, gt=0, description="Members that a process reads from remote storage at once, while it decodes."
    )
