"""What a dry run tells of an environment: where it is, else where it would be built, if at all."""

from typing import TYPE_CHECKING, Final

from swarmnode.cli.client import Client, Document
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import printable
from swarmnode.cli.project import packages
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task import inputs as task_inputs

if TYPE_CHECKING:
    from swarmnode.project.environment.lock import Lock

_DRY_RUN: Final = "/api/v1/tasks?dry_run=1"


def foresee(client: Client, spec: Document, lock: "Lock") -> bool:
    """Say of a dry run what becomes of it, and have a task see it where it is there.

    False: no machine in reach would build it, which is said with each one's reason.
    """
    told = packages.asked_of(client, lock)
    line: Document | None = told["environment"]
    task_follow.say(printable(f"{packages.words(lock, line)}{_named(client, line)}"))
    if line is not None:
        packages.use(spec, line)
        return True
    if builder := told.get("building", ""):
        name = Machines.seen_by(client).label(builder)
        task_follow.say(printable(f"{name} has it built just now"))
        return True
    return _would_be_built(client, lock)


def _named(client: Client, line: Document | None) -> str:
    """The machines that have it."""
    if line is None or not line["warm"]:
        return ""
    machines = Machines.seen_by(client)
    return f": {', '.join(map(machines.label, line['warm']))}"


def _would_be_built(client: Client, lock: "Lock") -> bool:
    """As an auction of the build says now; nothing is stored for that."""
    from swarmnode.tasks.environments.naming import IMAGE_FILE, LOCK

    names = (LOCK,) if lock.image is None else (LOCK, IMAGE_FILE)
    spec = packages.spec_of_build(lock, dict.fromkeys(names, task_inputs.some_cap()))
    rounds = client.call("POST", _DRY_RUN, spec)["rounds"]
    builder = next((bid["peer"] for each in rounds for bid in each["bids"] if bid["won"]), "")
    if builder:
        name = Machines.seen_by(client).label(builder)
        task_follow.say(printable(f"it would be built on {name}"))
    else:
        why = rounds[-1]["outcome"] if rounds else "no machine is known"
        task_follow.say(printable(f"no machine would build it now: {why}"))
    return bool(builder)
