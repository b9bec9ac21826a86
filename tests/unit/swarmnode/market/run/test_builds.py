"""What a machine signs as an environment: what its own recipe made of a lock, and nothing else."""

import pytest
from msgspec.structs import replace

from p2p.ids import PeerId
from swarmnode.errors import OutputUnsafeError
from swarmnode.market.run.builds import check_build
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.environments.naming import ALLOW_BUILD, COMMAND, LOCK, TREE, UV
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import JobRecord, RoomGrant
from swarmnode.tasks.spec import TaskSpec

SPEC = TaskSpec(
    (*COMMAND, UV), env="build:3.11", inputs=((LOCK, "swarm:lock"),), outputs=(TREE,), net=("pypi",)
)


def job(spec: TaskSpec) -> JobRecord:
    return JobRecord(TaskId("a" * 16), 1, PeerId("carol"), 1, spec, RoomGrant(0, 0, 0), 0)


def test_a_build_as_the_command_line_asks_for_it_is_signed() -> None:
    check_build(job(SPEC))
    check_build(job(replace(SPEC, run=(*COMMAND, ALLOW_BUILD, UV))))


@pytest.mark.parametrize(
    "changes",
    [
        {"run": ("/bin/sh", "-c", "cp -r evil /env/venv")},
        {"run": (*COMMAND, "/work/evil")},  # in place of uv
        {"run": (*COMMAND, UV, "/work/evil")},
        {"run": ("/work/evil", *COMMAND[1:], UV)},
        {"inputs": ()},
        {"inputs": ((LOCK, "swarm:lock"), ("evil.so", "swarm:evil"))},
        {"variables": (("LD_PRELOAD", "/work/evil.so"),)},
        {"data": (("/opt/evil", "swarm:evil"),)},
        {"secrets": (("hf", "UV_INDEX_URL"),)},
    ],
)
def test_what_somebody_else_had_a_part_in_is_not_signed(changes: dict[str, object]) -> None:
    """Whoever has that lock would run it, with secrets of theirs."""
    with pytest.raises(OutputUnsafeError, match="a build"):
        check_build(job(replace(SPEC, **changes)))


def test_nor_what_began_with_a_checkpoint() -> None:
    """It may have brought another lock."""
    with pytest.raises(OutputUnsafeError, match="checkpoints"):
        check_build(replace(job(SPEC), restore=CheckpointRecord(1, (), 0)))
