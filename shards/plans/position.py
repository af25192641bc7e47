"""Places in the endless sequence of steps: what a checkpoint stores, valid for any world size and number of workers."""

from shards.errors import ContractError
from shards.format.commit import Record
from shards.plans.plan import BatchPlan
from shards.reading.reader import ShardDataset


class LoaderState(Record):
    """A position in the data: the next step to take. The same on all ranks but for the damage that a rank has met."""

    manifest_sha256: str
    plan_sha256: str
    seed: int
    epoch: int
    step: int
    damaged: tuple[int, ...] = ()  # ids that were found damaged so far; they are replaced without another look


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
