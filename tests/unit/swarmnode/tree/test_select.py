"""What patterns of outputs mean in a work folder."""

import pytest

from swarmnode.tree.format import EntryKind, write_index
from swarmnode.tree.names import joined, parts_of
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, entries_of, inside_of
from swarmnode.tree.select import Selection, select

FOLDERS = (b"", b"results", b"results/.hidden", b"results/empty", b"logs")
FILES = (b"model.pt", b".env", b"results/a.txt", b"results/.hidden/b", b"logs/1.json", b"run.sh")
LINKS = {
    b"latest.pt": b"model.pt",
    b"newest": b"results",
    b"broken": b"gone",
    b"ring": b"ring",
    b"out": b"../other",
    b"results/link": b"a.txt",
}


def everything() -> list[Found]:
    found = [Found(parts_of(name), EntryKind.FOLDER, 0o755) for name in FOLDERS]
    found += [
        Found(parts_of(name), EntryKind.FILE, 0o755 if name.endswith(b".sh") else 0o644, 1)
        for name in FILES
    ]
    found += [Found(parts_of(name), EntryKind.LINK, 0, target=to) for name, to in LINKS.items()]
    return sorted(found, key=lambda one: one.parts)


def meant(*patterns: str) -> Selection:
    return select(everything(), [Pattern(one) for one in patterns])


def names(selection: Selection) -> list[bytes]:
    return [joined(piece.name) for piece in selection.pieces]


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (("model.pt",), [b"model.pt"]),
        (("results",), [b"results"]),
        (("results/",), [b"results"]),
        (("results/**",), [b"results"]),
        (("./results/*",), [b"results/.hidden", b"results/empty", b"results/a.txt"]),
        (("**",), [b""]),
        ((".",), [b""]),
        (("**/*.json", "model.*"), [b"logs/1.json", b"model.pt"]),
        (("model.pt", "model.*"), [b"model.pt"]),
        (("results", "results/a.txt"), [b"results"]),
    ],
)
def test_folders_are_one_object_and_files_are_their_own(
    patterns: tuple[str, ...], wanted: list[bytes]
) -> None:
    found = meant(*patterns)
    assert [name for name in names(found) if name != b"results/link"] == wanted
    assert not found.missing


def test_a_folder_brings_hidden_names_and_links_and_empty_folders() -> None:
    (piece,) = meant("results").pieces
    assert [joined(one.parts) for one in piece.found] == [
        b"results", b"results/.hidden", b"results/.hidden/b", b"results/a.txt", b"results/empty",
        b"results/link",
    ]  # fmt: skip


def test_a_link_asked_for_by_name_brings_what_it_leads_to() -> None:
    file, folder = meant("latest.pt", "newest").pieces
    assert (file.name, file.base, file.is_tree) == ((b"latest.pt",), (b"model.pt",), False)
    assert (folder.name, folder.base, folder.is_tree) == ((b"newest",), (b"results",), True)


@pytest.mark.parametrize(("name", "words"), [("broken", "nowhere"), ("ring", "nowhere"),
                                             ("out", "leads out")])  # fmt: skip
def test_a_link_to_nothing_is_a_fault_and_the_rest_is_kept(name: str, words: str) -> None:
    found = meant(name, "model.pt")
    assert names(found) == [b"model.pt"]
    assert words in found.faults[0]


def in_out(**links: bytes) -> list[Found]:
    """`out` with a file and these links, beside a checkpoint."""
    found = [Found(parts_of(name), EntryKind.FOLDER, 0o755) for name in (b"", b"ck", b"out")]
    found += [Found(parts_of(name), EntryKind.FILE, 0o644, 1) for name in (b"ck/best", b"out/m")]
    found += [
        Found((b"out", name.encode()), EntryKind.LINK, 0, target=to) for name, to in links.items()
    ]
    return sorted(found, key=lambda one: one.parts)


@pytest.mark.parametrize("pattern", ["out", "ou*", "*"])
@pytest.mark.parametrize("target", [b"../ck/best", b"/usr/bin/python3", b"../gone", b"/work/ck"])
def test_a_link_out_of_its_folder_is_left_out_and_named_and_the_rest_is_kept(
    pattern: str, target: bytes
) -> None:
    links = {"best": target, "by": b"best", "inner": b"m", "whole": b"/work/out/m", "no": b"gone"}
    found = select(in_out(**links), [Pattern(pattern)], (b"/work",))
    (piece,) = [piece for piece in found.pieces if piece.name == (b"out",)]
    kept = [joined(one.parts) for one in piece.found]
    assert kept == [b"out", b"out/inner", b"out/m", b"out/no", b"out/whole"]
    (fault,) = found.faults
    assert "'out/best' is a link that leads out of the folder, to " in fault
    assert target.decode() in fault
    assert "and 1 more" in fault
    write_index(entries_of(piece.found, piece.base, inside=inside_of(b"/work/out")))


def test_a_link_to_what_is_asked_for_as_well_costs_no_folder_that_is_whole() -> None:
    assert select(in_out(best=b"../ck/best"), [Pattern(".")]).faults == ()
    found = select(in_out(best=b"../ck/best"), [Pattern("out"), Pattern("ck")])
    assert [len(piece.found) for piece in found.pieces] == [2, 2]
    assert len(found.faults) == 1


def test_links_that_are_a_tangle_are_left_out_and_the_rest_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("swarmnode.tree.links.TREE_LINK_STEPS_MAX", 2)
    found = select(in_out(a=b"b", b=b"c", c=b"m"), [Pattern("out")])
    assert [joined(one.parts) for one in found.pieces[0].found] == [b"out", b"out/m"]
    assert "without end" in found.faults[0]


def test_patterns_that_match_nothing_are_told() -> None:
    assert meant("model.pt", "gone", "*.gone", "model.pt/").missing == (
        "gone",
        "*.gone",
        "model.pt/",
    )


def test_a_program_keeps_its_right_to_run() -> None:
    assert [piece.is_tree for piece in meant("run.sh", "model.pt").pieces] == [False, True]


def test_many_single_files_are_one_object() -> None:
    found = [Found((), EntryKind.FOLDER, 0o755), Found((b"d",), EntryKind.FOLDER, 0o700)]
    found += [Found((b"d", b"%03d" % number), EntryKind.FILE, 0o644) for number in range(300)]
    found += [Found((b"other",), EntryKind.FILE, 0o644)]
    (piece,) = select(found, [Pattern("d/*")]).pieces
    assert (piece.name, piece.base, len(piece.found)) == ((), (), 302)


def test_a_folder_with_more_names_than_a_tree_holds_costs_those_beyond_and_nothing_else() -> None:
    many = [Found((b"frames", f"{n:06}".encode()), EntryKind.FILE, 0o644) for n in range(100_003)]
    top = Found((b"frames",), EntryKind.FOLDER, 0o755)
    model = Found((b"model.pt",), EntryKind.FILE, 0o644, 1)
    chosen = select([top, *many, model], [Pattern("frames"), Pattern("model.pt")])
    frames, other = chosen.pieces
    assert (len(frames.found), frames.found[0], other.found) == (100_000, top, (model,))
    assert len(entries_of(frames.found, frames.base)) == 100_000
    (fault,) = chosen.faults
    assert fault.startswith("left out: 4 of the 100004 names in 'frames', from 'frames/099999' on")
