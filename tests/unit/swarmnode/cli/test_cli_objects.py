"""`obj` as a person meets it: whatever a folder holds goes up, and comes down the same."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.cli.main import run
from tests.api_lab import ServedNode, served_node
from tests.tree_lab import listing


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedNode]:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("SWARM_API", str(tmp_path / "home/api.sock"))
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with served_node(tmp_path / "home/api.sock") as served:
        yield served


def put(path: str | Path, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert run(["obj", "put", "--", os.fspath(path)]) == 0
    return capfd.readouterr().out.strip()


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str], code: int = 2) -> str:
    capfd.readouterr()
    assert run(arguments) == code
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    return said.err


def test_a_folder_goes_up_and_comes_down_with_all_there_is_in_it(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "project"
    (source / "empty").mkdir(parents=True)
    (source / ".env").write_text("KEY=1")
    (source / "run.sh").write_text("#!/bin/sh")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("run.sh")
    os.link(source / ".env", source / "epoch=3-step=500.ckpt")
    for odd in (b"-rf", b"\xff", b"a\nb", b"n" * 255):
        Path(os.fsdecode(os.fsencode(source) + b"/" + odd)).touch()
    cap = put("project/", capfd)
    assert [entry.name for entry in node.node.objects.entries()] == ["project"]
    assert run(["obj", "get", cap, "copy", "-o", "json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["folder"], told["files"]) == ("copy", 8)
    assert listing(tmp_path / "copy") == listing(source)
    assert refused(["obj", "get", "--force", cap, "copy"], capfd).count("copy exists") == 1


def test_ten_thousand_files_are_one_object(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(10_000):
        folder = tmp_path / f"many/{number % 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(str(number))
    cap = put("many", capfd)
    assert len(node.node.objects.entries()) == 1
    assert run(["obj", "get", cap, "copy"]) == 0
    assert listing(tmp_path / "copy") == listing(tmp_path / "many")


def test_a_program_stays_one_and_other_files_are_their_bytes(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.sh").write_bytes(b"#!/bin/sh")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "data").write_bytes(b"abc")
    program, data = put("run.sh", capfd), put("data", capfd)
    assert run(["obj", "get", program, "copy"]) == 0
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    assert run(["obj", "cat", data]) == 0
    assert capfd.readouterr().out.endswith("abc")
    (tmp_path / "tree").write_bytes(b"swarm tree 1\nis how it begins")
    odd = put("tree", capfd)
    assert refused(["obj", "get", odd, "x"], capfd, 1)
    assert run(["obj", "get", "--raw", odd, "x"]) == 0
    assert (tmp_path / "x").read_bytes() == (tmp_path / "tree").read_bytes()


@pytest.mark.parametrize("name", ["-dash", " space", "a=b", ".hidden", os.fsdecode(b"\xff")])
def test_any_name_can_be_put(
    node: ServedNode, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"x")
    put(f"./{name}", capfd)
    (entry,) = node.node.objects.entries()
    assert entry.name == name.replace("\udcff", r"\xff")


def test_what_cannot_be_kept_is_named_and_nothing_is_stored(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/passwords").symlink_to("/etc/shadow")
    assert "'passwords' is a link that leads out" in refused(["obj", "put", "out"], capfd)
    (tmp_path / "odd").mkdir()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("odd/door")
    assert "'door' is a socket" in refused(["obj", "put", "odd"], capfd)
    assert "neither a file nor a folder" in refused(["obj", "put", "odd/door"], capfd)
    assert "gone cannot be read: No such file" in refused(["obj", "put", "gone"], capfd)
    assert not node.node.objects.entries()


def test_rm_goes_through_all_and_says_which_could_not_be(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    caps = [put("a", capfd), put("a", capfd)]
    said = refused(["obj", "rm", caps[0], "swarm:no", caps[1]], capfd)
    assert "swarm:no: " in said
    assert not node.node.objects.entries()
