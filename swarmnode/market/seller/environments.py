"""Whether a task finds the environment that it asks for on this machine. Pure."""

from swarmnode.market.messages import CallForBids
from swarmnode.market.seller.room import Fitness
from swarmnode.tasks.environments.naming import BUILD, BUILT, IMAGE


def lacking_environment(call: CallForBids, fitness: Fitness, *, is_ours: bool) -> str:
    """Why such a task would not find what it asks for; empty when it would.

    Who builds sees folders of packages that this machine's settings name: its own lab alone may.
    """
    if call.machine and call.machine != fitness.machine:
        return f"the environment is for {call.machine}, this machine is {fitness.machine}"
    if call.env.startswith(BUILT):
        return "" if fitness.brings else "sandboxes here show no environments of the pool"
    if call.env.startswith(BUILD) and not is_ours:
        return "environments are built here for our own lab only"
    if call.env in fitness.environments:
        return ""
    if call.env.startswith(BUILD):
        have = [name.removeprefix(BUILD) for name in fitness.environments if _builds(name)]
        wanted = call.env.removeprefix(BUILD)
        if wanted == IMAGE:
            return "no images are unpacked here"
        return f"no CPython {wanted} here to build with; have: {', '.join(have) or 'none'}"
    named = [name for name in fitness.environments if not _builds(name) and name[:1] != BUILT]
    return f"no environment {call.env!r} here; have: {', '.join(named) or 'none'}"


def _builds(name: str) -> bool:
    return name.startswith(BUILD)


def bytes_to_bring(call: CallForBids, fitness: Fitness) -> int:
    """What would come here before such a task could start."""
    return 0 if call.env in fitness.environments else max(0, call.environment_bytes)
