"""What a member hands over to be kept is read again at the next start, however it was made."""

import msgspec
import pytest

from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import decode_as, encode
from p2p.wire.envelope import Signed
from storage.rights import Right
from swarmnode.limits import GUARD_RECORD_BYTES_MAX
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.guardians.sound import fault_in
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.spec_load import is_sound

TASK = TaskId("a" * 16)
ME = PeerId("me")
SPEC = TaskSpec(("true",), variables=(("B", ""), ("A", "")), enforce=("memory", "cpu"))
FILE = StoredFile("name", 1, "swarm:cap")
KEPT = TaskRecord(
    TASK, SPEC, 1_800_000_000_000, fence=1, provider=ME, attempts=(AttemptRecord(1, ME, 5),),
    checkpoint=CheckpointRecord(3, (FILE,), 5), outcome=Outcome("done", -1, "exit"), left=(FILE,),
)  # fmt: skip
RECORD = GuardRecord(TASK, ME, 1, 1, ME, (ME,), (), KEPT)


def test_a_spec_with_something_twice_is_refused() -> None:
    assert is_sound(SPEC)
    for twice in (
        {"variables": (("A", ""),) * 2},
        {"variables": (("A", ""),) * 1350},  # an award that fits a message, a job that does not
        {"inputs": (("a", "swarm:x"),) * 2},
        {"enforce": ("cpu",) * 4000},
    ):
        assert not is_sound(msgspec.structs.replace(SPEC, **twice))


@pytest.mark.parametrize(
    "strange",
    [
        *({name: number} for name in ("term", "seq", "promised") for number in (-1, 2**64 - 1)),
        {"roster": (ME,) * 3000},
        {"before": (ME,) * 9},
        {"rights": ((ME, Right(())),) * 9},
    ],
)
def test_a_record_among_keepers_that_counts_too_far_is_refused(strange: dict[str, object]) -> None:
    assert not fault_in(RECORD)
    assert fault_in(msgspec.structs.replace(RECORD, **strange))


@pytest.mark.parametrize(
    "strange",
    [
        {"attempts": ()},
        {"attempts": (), "fence": 0, "provider": PeerId(""), "state": TaskState.RUNNING},
        {"fence": 2},
        {"provider": PeerId("other")},
        {"rounds": 2**40},
        {"rounds": -1},
        {"lost_secrets": ("none-of-its-own",)},
        {
            "lost_secrets": ("hf", "hf"),
            "spec": msgspec.structs.replace(SPEC, secrets=(("hf", "HF"),)),
        },
    ],
)
def test_a_task_whose_parts_contradict_each_other_is_refused(strange: dict[str, object]) -> None:
    """Each ended the node of whoever had to act for it."""
    assert fault_in(
        msgspec.structs.replace(RECORD, task_record=msgspec.structs.replace(KEPT, **strange))
    )


LINK = Signed(1, NetworkId("net"), "d", ME, 0, 1, b"x", b"y")


@pytest.mark.parametrize(
    "right", [Right(()), Right((LINK,)), Right((LINK,) * 4), Right((LINK,), bytes(20_000))]
)
def test_a_right_that_nobody_could_hand_on_is_refused(right: Right) -> None:
    assert fault_in(msgspec.structs.replace(RECORD, rights=((ME, right),)))


_COUNTED = [
    "submitted_ms",
    "fence",
    "fence_floor",
    "left_fence",
    "retries_used",
    "rounds",
    "ended_ms",
    "taken_up_ms",
]
_OF_ATTEMPTS = ["fence", "awarded_ms", "accepted_ms", "ended_ms", "restored_ms", "restored_step"]


@pytest.mark.parametrize("number", [-1, 2**63 - 1, 2**64 - 1])
def test_numbers_of_a_kept_task_can_be_counted_on(number: int) -> None:
    for name in _COUNTED:
        kept = msgspec.structs.replace(KEPT, **{name: number})
        assert fault_in(msgspec.structs.replace(RECORD, task_record=kept)), name
    for name in _OF_ATTEMPTS:
        attempt = msgspec.structs.replace(KEPT.attempts[0], **{name: number})
        kept = msgspec.structs.replace(KEPT, attempts=(attempt,))
        assert fault_in(msgspec.structs.replace(RECORD, task_record=kept)), name


@pytest.mark.parametrize(
    "strange",
    [
        {"why": "x" * 300_000},  # fits what keepers bring, not what is kept of a task
        {"attempts": KEPT.attempts * 200},
        {"left": (FILE,) * 33},
        {"outcome": Outcome("done", 0, "", outputs=(FILE,) * 257)},
        {"outcome": Outcome("done", 0, "", not_enforced=("x",) * 3000)},
        {"checkpoint": CheckpointRecord(2**63, (), 1)},
        {"checkpoint": CheckpointRecord(1, (FILE,) * 600, 1)},
        {"spec": msgspec.structs.replace(SPEC, variables=(("A", ""),) * 1300)},
    ],
)
def test_a_kept_task_is_as_long_as_one_of_ours_at_most(strange: dict[str, object]) -> None:
    record = msgspec.structs.replace(RECORD, task_record=msgspec.structs.replace(KEPT, **strange))
    assert decode_as(GuardRecord, encode(record), GUARD_RECORD_BYTES_MAX) == record
    assert fault_in(record)
