"""A recovery phrase gives the same key back, and says what is wrong with a wrong one."""

import os

import pytest

from p2p.ids import PeerId
from p2p.limits import CONTROL_FRAME_BYTES_MAX
from p2p.wire.codec import encode
from storage.limits import KEY_BYTES_MAX
from swarmnode.errors import PhraseError, SnapshotError
from swarmnode.recovery.copies.pointers import KeyringCopies, Pointer
from swarmnode.recovery.copies.snapshot import (
    KeyringSnapshot,
    SnapshotRow,
    open_copies,
    pack,
    seal_copies,
    tasks_in,
    unpack,
)
from swarmnode.recovery.phrase import seed_of, words_of
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import TASKS

ZERO = "abandon " * 23 + "art"


def test_a_phrase_is_the_standard_s() -> None:
    assert words_of(bytes(32)) == ZERO  # test vector of BIP-39
    assert seed_of(ZERO) == bytes(32)


def test_a_phrase_gives_its_seed_back_in_any_case_and_spacing() -> None:
    for _ in range(20):
        seed = os.urandom(32)
        words = words_of(seed)
        assert len(words.split()) == 24
        assert seed_of(f"\n  {words.upper().replace(' ', '   ')}\n") == seed


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "24 words, not 0"),
        ("abandon " * 12, "24 words, not 12"),
        ("abandon " * 24, "not in their order"),
        (
            "abandom " + "abandon " * 22 + "art",
            "word 1, 'abandom', is not on the list: is it 'aban",
        ),
        ("abandon " * 23 + "xyzzy", "word 24, 'xyzzy', is not on the list"),
        ("art " + "abandon " * 23, "not in their order"),
    ],
)
def test_a_wrong_phrase_is_refused_with_its_fault(text: str, fault: str) -> None:
    with pytest.raises(PhraseError, match=fault.replace("(", r"\(")):
        seed_of(text)


def test_where_the_keyring_is_only_its_phrase_tells() -> None:
    seed, copies = bytes(32), KeyringCopies((Pointer("swarm:cap", PeerId("laptop")),))
    value = seal_copies(seed, copies, os.urandom)
    assert b"swarm:cap" not in value
    assert open_copies(seed, value) == copies
    for wrong in (value[:-1], b"", value[:20] + b"\0" + value[21:]):
        with pytest.raises(SnapshotError, match="not of this phrase"):
            open_copies(seed, wrong)
    with pytest.raises(SnapshotError):
        open_copies(b"\1" * 32, value)


def test_a_copy_is_read_back_and_nonsense_is_not() -> None:
    made = KeyringSnapshot(7, ((b"a", b"b"),), (SnapshotRow("tasks", b"k", b"v"),), b"lab")
    assert unpack(pack(made)) == made
    with pytest.raises(SnapshotError, match="upgrade"):
        unpack(b"nonsense")


def test_a_copy_of_any_number_of_objects_and_tasks_is_read_back() -> None:
    objects = tuple((at.to_bytes(32), bytes(200)) for at in range(20_000))
    tasks = [TaskRecord(TaskId(f"task{at}"), TaskSpec(("true",)), at) for at in range(2_000)]
    rows = tuple(SnapshotRow(TASKS, task.task.encode(), encode(task)) for task in tasks)
    made = KeyringSnapshot(7, objects, rows, b"lab", b"network")
    assert unpack(pack(made)) == made
    assert tasks_in(made) == tasks


def test_the_longest_row_of_a_table_is_read_back_and_a_cut_copy_is_not() -> None:
    row = SnapshotRow("t" * 32, b"k" * KEY_BYTES_MAX, bytes(CONTROL_FRAME_BYTES_MAX))
    data = pack(KeyringSnapshot(7, (), (row,)))
    assert unpack(data).rows == (row,)
    for cut in (1, len(data) // 2, len(data) - 2):
        with pytest.raises(SnapshotError, match="upgrade"):
            unpack(data[:-cut])


def test_a_task_of_another_version_in_a_copy_is_said_so() -> None:
    with pytest.raises(SnapshotError, match="a task in the pool cannot be read"):
        tasks_in(KeyringSnapshot(7, (), (SnapshotRow(TASKS, b"k", b"nonsense"),)))
