"""What a task says of its checkpoints through its ctx."""

import msgspec

from swarmnode.limits import STEP_MAX


class CheckpointRefusedError(Exception):
    """What the task staged cannot be kept; it is the task's doing, the text says why."""


class CheckpointTold(msgspec.Struct, frozen=True):
    """What a task says through its ctx: this step is staged, in a folder of its own or as it is."""

    step: int
    name: str
    """Empty: everything in the folder."""


def told_of(step: object, name: object) -> CheckpointTold:
    """What a `ctx.checkpoint` means. Raises CheckpointRefusedError."""
    if isinstance(step, bool) or not isinstance(step, int) or not 0 < step <= STEP_MAX:
        raise CheckpointRefusedError(f"a step is a whole number above 0, not {step!r}")
    if name not in ("", f"step-{step}"):
        raise CheckpointRefusedError(f"{name!r} is not the folder of step {step}")
    return CheckpointTold(step, str(name))
