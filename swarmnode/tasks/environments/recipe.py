"""Which tasks that build an environment do nothing else. Pure."""

from swarmnode.tasks.environments.naming import (
    BUILD,
    COMMAND,
    IMAGE_COMMAND,
    IMAGE_FILE,
    LOCK,
    is_recipe,
)
from swarmnode.tasks.spec import TaskSpec


def build_fault(spec: TaskSpec, *, is_restored: bool) -> str:
    """Why something besides the recipe would make what a build leaves; empty for other tasks.

    Others run by what its machine signs: whoever may give it a task would else choose what they
    run, by a command, a variable (LD_PRELOAD), a file or a step of its own beside another's lock.
    And the sandbox binds the folder `env`, which none of them may have made a link.
    """
    if not spec.env.startswith(BUILD):
        return ""
    if not is_recipe(spec.run, spec.env):
        return f"a build runs {' '.join(COMMAND)} and nothing else"
    wanted = {LOCK, IMAGE_FILE} if spec.run == IMAGE_COMMAND else {LOCK}
    if {name for name, _ in spec.inputs} != wanted:  # an image's settings name all that is in it
        return f"a build has its lock as the input {LOCK}, and no other"
    has_steps = spec.checkpoint is not None or is_restored
    if spec.variables or spec.secrets or spec.data or has_steps:
        return "a build has no variables, secrets, data or checkpoints"
    return ""
