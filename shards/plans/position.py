"""Places in the endless sequence of steps: what a checkpoint stores, valid for any world size and number of workers."""

from collections.abc import Sequence

from shards.errors import ContractError
from shards.format.commit import Record
from shards.plans.plan import BatchPlan
from shards.reading.reader import ShardDataset


class LoaderState(Record):
    """A position in the data: the next step to take, for any rank of any world.

    It is the same on all ranks but for `damaged`, of which each knows what it has met; `merged` makes the state of all.
    With on_damage: substitute the batches are a function of the plan and of what is damaged, whoever knows of it, so a
    state of one rank resumes the same batches as that of all, as long as what was damaged still is. What has been
    restored meanwhile is read again by ranks that did not know of it, and stays replaced if the merged state says so.
    """

    manifest_sha256: str
    plan_sha256: str
    seed: int
    epoch: int
    step: int
    damaged: tuple[int, ...] = ()  # ids that were found damaged so far; they are replaced without another look

    @classmethod
    def merged(cls, states: Sequence["LoaderState"]) -> "LoaderState":
        """The state of a whole world: what a checkpoint stores where damaged samples are replaced.

        Args:
            states: of all ranks after the same step, gathered by the caller.

        Raises:
            ContractError: the ranks are not at the same step of the same data.
        """
        damaged = tuple(sorted({sample_id for state in states for sample_id in state.damaged}))
        merged = [state.model_copy(update={"damaged": damaged}) for state in states]
        others = [rank for rank, state in enumerate(merged) if state != merged[0]]
        if others:
            here, there = merged[0], merged[others[0]]
            raise ContractError(
                f"rank {others[0]} is at epoch {there.epoch}, step {there.step}, rank 0 at epoch {here.epoch}, step "
                f"{here.step}; all are at the same step of the same plan; gather states after the same batch"
            )
        return merged[0]


def position(dataset: ShardDataset, plan: BatchPlan, epoch: int, step: int) -> LoaderState:
    """The state whose next step is this one."""
    return LoaderState(
        manifest_sha256=dataset.manifest_sha256, plan_sha256=plan.sha256, seed=plan.config.seed, epoch=epoch, step=step
    )


def following(epoch: int, step: int, steps_per_epoch: int) -> tuple[int, int]:
    """The step after."""
    return (epoch, step + 1) if step + 1 < steps_per_epoch else (epoch + 1, 0)


def start_at(dataset: ShardDataset, plan: BatchPlan, state: LoaderState | None) -> tuple[int, int]:
    """Epoch and step to begin with: those of a stored position, or the first.

    Raises:
        ContractError: the position is of other data or another plan.
    """
    if state is None:
        return 0, 0
    here = position(dataset, plan, state.epoch, state.step)
    if here != state.model_copy(update={"damaged": ()}) or state.step >= plan.steps_per_epoch:
        raise ContractError(
            f"position is step {state.step} of plan {state.plan_sha256[:12]} over {state.manifest_sha256[:12]}; "
            f"this is plan {here.plan_sha256[:12]} of {plan.steps_per_epoch} steps over {here.manifest_sha256[:12]}; "
            f"resume with the version and configuration that the checkpoint names"
        )
    return state.epoch, state.step
