"""What stands in for a damaged sample: a function of the global batch and of what is damaged, so that any rank of any
world, and a resumed run, take the same one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shards.errors import ContractError
from shards.storage.store import ObjectMissing

T = TypeVar("T")

DAMAGE = (ContractError, ObjectMissing)  # what reading and decoding one sample raise if it is not as published


@dataclass(frozen=True)
class Damage:
    """A sample that could not be used.

    Attributes:
        key: of the sample.
        sample_id: its id.
        detail: what is wrong, for people; empty if an earlier batch, or the run that saved the position, met it.
        substitute_key: of the sample that stands in.
        substitute_id: its id.
    """

    key: str
    sample_id: int
    detail: str
    substitute_key: str
    substitute_id: int


def first_intact(ids_B: Sequence[int], place: int, broken: dict[int, str], take: Callable[[int], T]) -> tuple[int, T]:
    """What can be taken of the first intact sample from a place of the global batch on, round its end.

    Args:
        ids_B: the global batch, of all ranks.
        place: where to begin: the sample that is wanted.
        broken: ids that are known to be damaged, and why; new ones are added.
        take: reads and decodes a sample.

    Raises:
        ContractError: the whole batch is damaged.
    """
    for sample_id in (*ids_B[place:], *ids_B[:place]):
        if sample_id in broken:
            continue
        try:
            return sample_id, take(sample_id)
        except DAMAGE as error:
            broken[sample_id] = str(error)
    raise ContractError(
        f"all {len(set(ids_B))} samples of a batch are damaged; one intact one is needed; restore the shards; "
        f"the first: {broken[ids_B[place]]}"
    )
