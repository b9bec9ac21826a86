"""Which files are a checkpoint, of which step, and when one is complete."""

import pytest
from msgspec.structs import replace

from swarmnode.memory.entries import CheckpointEntry, FolderLook, look_at, marked_step
from swarmnode.memory.stillness import Draft, Stillness
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import joined, parts_of
from swarmnode.tree.scan import Found

OUT = (b"out",)


def found(*names: str, in_place: bool = False, size: int = 1) -> list[Found]:
    """Files, and the folders they lie in; renamed into place unless it is said otherwise."""
    places: dict[tuple[bytes, ...], Found] = {}
    for name in names:
        parts = parts_of(name.encode())
        for depth in range(1, len(parts)):
            places[parts[:depth]] = Found(
                parts[:depth], EntryKind.FOLDER, 0o755, 0, 5, 6 - in_place
            )
        places[parts] = Found(parts, EntryKind.FILE, 0o644, size, 5, 6 - in_place)
    return sorted(places.values(), key=lambda one: one.parts)


def look(*names: str, in_place: bool = False, size: int = 1) -> FolderLook:
    return look_at(OUT, found(*names, in_place=in_place, size=size), 0)


def names_of(parts: tuple[Found, ...]) -> list[str]:
    return [joined(one.parts).decode() for one in parts]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("out/checkpoint-500/model.safetensors", 500),
        ("out/step-7/a/b/c", 7),
        ("out/00042/.metadata", 42),
        ("out/model-12.pt", 12),
        ("out/epoch=3-step=500.ckpt", 500),
        ("out/epoch_3.tar.gz", 3),
        ("out/model.pt", 0),
        ("out/best/model-12.pt", 0),
        ("out/7-final/x", 0),
        ("out/run-2.tmp/x", None),
        ("out/tmp-checkpoint-500/x", None),
        ("out/.tmp-5/x", None),
        ("out/model-5.pt.part", None),
    ],
)
def test_the_step_is_the_number_at_the_end_of_the_name(name: str, step: int | None) -> None:
    """A folder without any is one checkpoint itself (0); what is not finished is none."""
    steps = [entry.step for entry in look(name).entries]
    assert steps == ([] if step is None else [step])


def test_all_names_of_a_step_are_one_checkpoint_and_the_rest_lies_beside() -> None:
    seen = look("out/m-1.pt", "out/opt-1.pt", "out/m-2.pt", "out/best.txt", "out/logs/a")
    assert [(entry.step, names_of(entry.found)) for entry in seen.entries] == [
        (1, ["out/m-1.pt", "out/opt-1.pt"]),
        (2, ["out/m-2.pt"]),
    ]
    assert names_of(seen.loose) == ["out/best.txt", "out/logs", "out/logs/a"]


def test_with_a_marker_the_whole_folder_is_one_checkpoint() -> None:
    parts = found("out/shard-0.bin", "out/shard-1.bin", "out/step.json")
    (entry,) = look_at(OUT, parts, 7).entries
    assert (entry.step, entry.is_marked, len(entry.found)) == (7, True, 3)
    assert not look_at(OUT, parts, 0).entries  # a marker that names no step


@pytest.mark.parametrize(
    ("marker", "step"),
    [(b'{"step": 3, "loss": 1}', 3), (b'{"step": true}', 0), (b"[3]", 0), (b"\xff", 0), (b"", 0)],
)
def test_a_marker_names_a_step_or_none(marker: bytes, step: int) -> None:
    assert marked_step(marker) == step


def test_what_was_renamed_into_place_is_known() -> None:
    (placed,) = look("out/step-1/a").entries
    (in_place,) = look("out/step-1/a", in_place=True).entries
    assert placed.was_placed
    assert not in_place.was_placed
    added = replace(placed, found=(*placed.found[:-1], replace(placed.found[-1], changed_ns=99)))
    assert not added.was_placed


def until_taken(
    still: Stillness, seen: FolderLook, from_s: int, to_s: int
) -> tuple[int, Draft] | None:
    for now_s in range(from_s, to_s):
        if draft := still.look(seen, now_s):
            still.stored(draft, draft.entry.step or still.step + 1)
            return now_s, draft
    return None


def test_a_renamed_one_is_complete_at_the_second_look() -> None:
    taken = until_taken(Stillness(), look("out/step-1/a"), 0, 9)
    assert taken is not None
    assert (taken[0], taken[1].is_sure) == (1, True)


def test_one_filled_in_place_is_taken_when_quiet_and_relied_on_later() -> None:
    still, seen = Stillness(), look("out/step-1/a", in_place=True)
    taken = until_taken(still, seen, 0, 60)
    assert taken is not None
    assert (taken[0], taken[1].is_sure) == (5, False)
    taken = until_taken(still, seen, 6, 60)
    assert taken is not None
    assert (taken[0], taken[1].is_sure) == (30, True)
    assert until_taken(still, seen, 31, 99) is None


def test_one_that_changes_after_it_was_taken_is_taken_again() -> None:
    still = Stillness()
    assert until_taken(still, look("out/step-1/a", in_place=True), 0, 9)
    taken = until_taken(still, look("out/step-1/a", "out/step-1/b", in_place=True), 9, 30)
    assert taken is not None
    assert (taken[1].entry.step, len(taken[1].entry.found), taken[1].is_sure) == (1, 3, False)


def test_a_later_step_says_that_the_one_before_is_complete() -> None:
    still = Stillness()
    still.look(look("out/step-1/a", in_place=True), 0)
    draft = still.look(look("out/step-1/a", "out/step-2/a", in_place=True), 1)
    assert draft is not None
    assert (draft.entry.step, draft.is_sure) == (1, True)


def test_where_the_newest_is_refused_the_one_before_it_goes_first() -> None:
    still, seen = Stillness(), look("out/step-1/a", "out/step-2/a")
    still.look(seen, 0)
    newest = still.look(seen, 1)
    assert newest is not None
    assert newest.entry.step == 2
    still.refused(newest.entry)
    before = still.look(seen, 2)
    assert before is not None
    assert (before.entry.step, before.is_sure) == (1, True)
    still.stored(before, 1)
    again = still.look(seen, 3)
    assert again is not None
    assert again.entry.step == 2
    mended = look("out/step-1/a", "out/step-2/b")
    still.look(mended, 4)
    taken = still.look(mended, 5)
    assert taken is not None
    assert taken.entry.found == mended.entries[-1].found


def test_a_folder_without_numbers_is_taken_each_time_it_has_changed() -> None:
    still = Stillness()
    for version in (1, 2, 3):
        taken = until_taken(
            still, look("out/model.pt", size=version), 10 * version, 10 * version + 9
        )
        assert taken is not None
        assert (still.step, taken[1].is_sure) == (version, True)
    assert until_taken(still, look("out/model.pt", size=3), 40, 99) is None


def test_what_lies_beside_is_news_once_it_rests_and_no_news_while_it_grows() -> None:
    still = Stillness()
    assert until_taken(still, look("out/step-1/a", "out/best.txt"), 0, 9)
    step = look("out/step-1/a").entries
    for size in range(2, 20):
        beside = tuple(found("out/log", size=size))[1:] + look("out/s-1", "out/best.txt").loose
        assert still.look(FolderLook(step, beside), 10 + size) is None
    draft = still.look(FolderLook(step, beside), 40)
    assert draft is not None
    assert names_of(draft.loose) == ["out/log", "out/best.txt"]


@pytest.mark.parametrize(
    ("in_place", "rest_s", "is_orderly", "is_kept", "is_sure"),
    [
        (False, 0, False, True, True),
        (True, 0, False, False, False),
        (True, 6, False, True, False),
        (True, 31, False, True, True),
        (True, 0, True, True, True),
    ],
)
def test_of_a_killed_program_only_what_had_rested_counts(
    in_place: bool, rest_s: int, is_orderly: bool, is_kept: bool, is_sure: bool
) -> None:
    seen = look("out/step-1/a", in_place=in_place)
    draft = Stillness().last_words(seen, rest_s * 10**9 + 6, is_orderly=is_orderly)
    assert (draft is not None) is is_kept
    assert draft is None or draft.is_sure is is_sure


def test_what_was_brought_back_is_no_news() -> None:
    still = Stillness(step=3)
    still.resumed(look("out/step-2/a", "out/step-3/a", "out/best.txt"))
    seen = look("out/step-2/a", "out/step-3/a", "out/best.txt")
    assert until_taken(still, seen, 0, 60) is None
    assert CheckpointEntry(1, ()).was_placed is False
