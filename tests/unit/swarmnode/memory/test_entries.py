"""Which files are a checkpoint, and of which step."""

import pytest

from swarmnode.executor.port import FileStat
from swarmnode.memory.entries import Entry, marked_step, newest_settled, numbered_entries


def files(*names: str) -> list[FileStat]:
    return [FileStat(name, 1, 1) for name in sorted(names)]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("out/checkpoint-500/model.safetensors", 500),
        ("out/step-7/a/b/c", 7),
        ("out/00042/x", 42),
        ("out/model-12.pt", 12),
        ("out/epoch_3.tar.gz", 3),
        ("out/model.pt", None),
        ("out/best/model-12.pt", None),
        ("out/7-final/x", None),
        ("out/run-2.tmp/x", None),
    ],
)
def test_the_step_is_the_number_at_the_end_of_the_name(name: str, step: int | None) -> None:
    assert [entry.step for entry in numbered_entries("out", files(name))] == (
        [] if step is None else [step]
    )


def test_a_folder_and_all_that_is_in_it_is_one_entry() -> None:
    found = numbered_entries("out", files("out/step-1/a", "out/step-1/sub/b", "out/step-2/a"))
    assert [(entry.pattern, len(entry.files)) for entry in found] == [
        ("out/step-1/**", 2),
        ("out/step-2/**", 1),
    ]


def test_beside_a_marker_single_files_are_parts_and_not_checkpoints() -> None:
    assert not numbered_entries("out", files("out/shard-0.bin", "out/shard-1.bin", "out/step.json"))


@pytest.mark.parametrize(
    ("marker", "step"),
    [(b'{"step": 3, "loss": 1}', 3), (b'{"step": true}', 0), (b"[3]", 0), (b"\xff", 0), (b"", 0)],
)
def test_a_marker_names_a_step_or_none(marker: bytes, step: int) -> None:
    assert marked_step(marker) == step


def test_only_what_stood_still_between_two_looks_is_taken() -> None:
    still = Entry(1, "out/1/**", tuple(files("out/1/a")))
    grew = Entry(2, "out/2/**", (FileStat("out/2/a", 2, 2),))
    before = [still, Entry(2, "out/2/**", (FileStat("out/2/a", 1, 1),))]
    assert newest_settled([still, grew], before, above_step=0) == still
    assert newest_settled([still, grew], before, above_step=1) is None
