"""`task submit --in`: what goes in keeps its name, and what cannot is refused before it is sent."""

import os
from pathlib import Path

import pytest
import trio

from storage.manifests.capability import parse_cap
from swarmnode.cli.main import run
from swarmnode.tree.unpack import IndexReader
from tests.api_lab import ServedNode

CAP = "swarm:" + "a" * 109


def submit(*inputs: str, options: tuple[str, ...] = ()) -> int:
    flags = [word for one in inputs for word in ("--in", one)]
    return run(["task", "submit", "--detach", *flags, *options, "--", "x"])


def inputs_of(node: ServedNode) -> dict[str, str]:
    (view,) = node.node.market.buyer.views.values()
    return dict(view.record.spec.inputs)


def bytes_of(node: ServedNode, cap: str) -> bytes:
    async def read() -> bytes:
        return b"".join([part async for part in node.node.objects.get(parse_cap(cap))])

    return trio.from_thread.run(read, trio_token=node.token)


def names_in(node: ServedNode, cap: str) -> list[bytes]:
    whole = IndexReader().feed(bytes_of(node, cap))
    assert whole is not None
    return [entry.path for entry in whole[0].entries]


@pytest.mark.parametrize(
    "name",
    [".env", "-rf", "a b", "epoch=3-step=500.ckpt", "a\nb", "u\u0308", "back\\slash", "x" * 255],
)
def test_a_file_keeps_its_name(node: ServedNode, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"data")
    assert submit(f"./{name}") == 0
    ((place, cap),) = inputs_of(node).items()
    assert place == name.replace("\\", r"\\")
    assert bytes_of(node, cap) == b"data"


def test_a_name_that_is_not_utf8_goes_in_as_text(node: ServedNode, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"data")
    assert submit(os.fsdecode(b"\xff")) == 0
    assert list(inputs_of(node)) == [r"\xff"]


def test_what_exists_as_it_is_written_is_a_path_else_the_first_equals_sign_counts(
    node: ServedNode, tmp_path: Path
) -> None:
    for name in ("a=b", "b", "c=d=e"):
        (tmp_path / name).write_text(name)
    assert submit("a=b", "x=c=d=e", "y=b", f"z={node_cap(node, tmp_path)}") == 0
    found = inputs_of(node)
    assert sorted(found) == ["a=b", "x", "y", "z"]
    assert bytes_of(node, found["x"]) == b"c=d=e"


def node_cap(node: ServedNode, tmp_path: Path) -> str:
    """Something that is in the pool."""
    (tmp_path / "pooled").write_text("pooled")
    assert run(["obj", "put", "pooled", "--name", "p"]) == 0
    from storage.manifests.capability import text_of_cap

    return text_of_cap(node.node.objects.entries()[-1].cap)


def test_folders_and_programs_are_trees_and_a_point_is_the_work_folder_itself(
    node: ServedNode, tmp_path: Path
) -> None:
    (tmp_path / "code/sub").mkdir(parents=True)
    (tmp_path / "code/sub/.hidden").touch()
    (tmp_path / "run.sh").write_text("#!/bin/sh")
    (tmp_path / "run.sh").chmod(0o755)
    assert submit("code/", "run.sh", ".=code") == 0
    found = inputs_of(node)
    assert sorted(found) == [".", "code", "run.sh"]
    assert names_in(node, found["code"]) == [b"", b"sub", b"sub/.hidden"]
    assert names_in(node, found["run.sh"]) == [b""]


def test_many_files_go_up_as_one_object(node: ServedNode, tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    (tmp_path / "folder").mkdir()
    assert submit(*(f"data/{n}={n}" for n in range(2000)), "folder") == 0
    found = inputs_of(node)
    assert sorted(found) == [".", "folder"]
    names = names_in(node, found["."])
    assert len(names) == 2002
    assert b"data/1999" in names
    assert len(node.node.objects.entries()) == 2


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (("a", "sub/a"), (), "two are to be 'a' in the work folder: write --in OTHER="),
        (("a", "./b/../a"), (), "two are to be 'a'"),
        (("gone",), (), "No such file or directory: give a file, a folder or NAME=swarm:"),
        (("../x=a",), (), "is not a name inside the folder"),
        (("/x=a",), (), "is absolute"),
        (("a",), ("--out", "[a"), "has a [ without its ]"),
        (("a",), ("--out", "../b"), "is not a name inside the folder"),
        (("a",), ("--mem", "lots"), "shape.mem"),
        (("a",), ("--spec", "odd.json"), "inputs: "),
        ((CAP,), (), "--in needs a name"),
        (("a", "pipe"), (), "neither a file nor a folder"),
        (
            ("a", "cannot-be-looked-at"),
            (),
            "cannot-be-looked-at cannot be read: File name too long",
        ),
        (("a", "leads-out"), (), "is a link that leads out of the folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_stored(
    node: ServedNode, tmp_path: Path, inputs: tuple[str, ...], options: tuple[str, ...], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("a", "sub/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "cannot-be-looked-at").symlink_to("x" * 300)
    (tmp_path / "odd.json").write_text('{"inputs": ["a"]}')
    (tmp_path / "leads-out").mkdir()
    (tmp_path / "leads-out/l").symlink_to("/etc/passwd")
    assert submit(*inputs, options=options) == 2
    assert words in capsys.readouterr().err
    assert not node.node.objects.entries()
    assert not node.node.market.buyer.views
