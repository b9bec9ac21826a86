"""Files of this machine in `obj put`, `get` and `cat`: torn, missing, special, full, piped."""

import io
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.cli.files import local as local_files
from swarmnode.cli.main import run
from tests.api_lab import ServedNode

DATA = os.urandom(3_000_000)


@pytest.fixture
def cap(node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    (tmp_path / "source").write_bytes(DATA)
    assert run(["obj", "put", str(tmp_path / "source")]) == 0
    return capfd.readouterr().out.strip()


def objects(node: ServedNode) -> int:
    return len(node.node.objects.entries())


def append(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b"more")


class Writes:
    """Does something to a file each time that a command has read a piece of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *acts: object) -> None:
        self.left = list(acts)
        real = local_files.Readable.read

        def read(readable: local_files.Readable, size: int = -1) -> bytes:
            data = real(readable, size)
            if self.left and data:
                self.left.pop(0)()  # type: ignore[operator]
            return data

        monkeypatch.setattr(local_files.Readable, "read", read)


def test_a_file_that_changed_while_it_was_read_is_read_again(
    node: ServedNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "log"
    file.write_bytes(DATA)
    Writes(monkeypatch, lambda: append(file))
    assert run(["obj", "put", str(file)]) == 0
    said = capfd.readouterr()
    assert "changed while it was read" in said.err
    assert run(["obj", "get", said.out.strip(), str(tmp_path / "back")]) == 0
    assert (tmp_path / "back").read_bytes() == DATA + b"more"
    assert objects(node) == 1


@pytest.mark.parametrize("how", ["append", "cut", "replace", "overwrite", "remove"])
def test_a_file_that_keeps_changing_is_refused_and_nothing_is_stored(
    node: ServedNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    how: str,
) -> None:
    file = tmp_path / "log"
    file.write_bytes(DATA)

    def change() -> None:
        if how == "append":
            append(file)
        elif how == "cut":
            os.truncate(file, max(0, file.stat().st_size - 1000))
        elif how == "overwrite":
            with file.open("r+b") as out:
                out.write(b"x")
            os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
        elif file.exists():
            file.rename(tmp_path / f"old{len(list(tmp_path.iterdir()))}")
            if how == "replace":
                file.write_bytes(DATA)

    Writes(monkeypatch, *[change] * 1000)
    assert run(["obj", "put", str(file)]) in (1, 2)
    said = capfd.readouterr().err
    assert "changed while it was read" in said or "cannot be read" in said
    assert "went away" not in said
    assert objects(node) == 0


def test_sources_that_cannot_be_read_say_so_and_not_that_the_node_went_away(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    os.mkfifo(tmp_path / "fifo")
    for name in ("missing", "loop", "nowhere", "fifo", "api.sock", "source/below"):
        assert run(["obj", "put", str(tmp_path / name)]) == 2, name
        said = capfd.readouterr().err
        assert said.startswith("error: "), said
        assert "went away" not in said
    for device in ("/dev/null", "/dev/zero", "/proc/self/mem"):
        assert run(["obj", "put", device]) == 2
        assert device in capfd.readouterr().err
    assert objects(node) == 0


def test_a_disk_that_fails_in_the_middle_is_the_files_fault(
    node: ServedNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fails() -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "file").write_bytes(DATA)
    real = io.BufferedReader.read
    count = iter(range(100))
    monkeypatch.setattr(
        local_files, "_read", lambda file, size: real(file, size) if next(count) < 2 else fails()
    )
    assert run(["obj", "put", str(tmp_path / "file")]) == 2
    said = capfd.readouterr().err
    assert f"{tmp_path / 'file'} cannot be read: Input/output error" in said
    assert objects(node) == 0


def test_a_file_of_the_kernels_that_has_no_size_is_read_to_its_end(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["obj", "put", "/proc/version"]) == 0
    cap = capfd.readouterr().out.strip()
    assert run(["obj", "get", cap, "-"]) == 0
    assert capfd.readouterr().out == Path("/proc/version").read_text()


def test_get_replaces_regular_files_only_and_only_when_told(
    cap: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("link", "dangling", "fifo", "folder", "home/api.sock"):
        for force in ([], ["--force"]):
            assert run(["obj", "get", cap, str(tmp_path / name), *force]) == 2, name
            assert name in capfd.readouterr().err
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "link").is_symlink()
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert not (tmp_path / "gone").exists()
    assert run(["obj", "get", cap, str(victim)]) == 2
    assert victim.read_bytes() == b"precious"
    assert run(["obj", "get", cap, str(victim), "--force"]) == 0
    assert victim.read_bytes() == DATA
    for device in ("/dev/null", "/dev/full"):
        assert run(["obj", "get", cap, device, "--force"]) == 2
        assert stat.S_ISCHR(os.stat(device).st_mode)


def test_get_and_put_take_a_name_as_long_as_linux_allows(
    cap: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = tmp_path / ("n" * 255)
    assert run(["obj", "get", cap, str(name)]) == 0
    assert run(["obj", "put", str(name)]) == 0


def test_what_cannot_be_written_says_so_and_leaves_nothing(
    cap: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    for where in ("no/such/folder/x", "source/x"):
        assert run(["obj", "get", cap, str(tmp_path / where)]) in (1, 2)
        said = capfd.readouterr().err
        assert "cannot write" in said
        assert "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before


def swarm(*words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "swarmnode.cli.main", *words]
    return subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False, **how)  # type: ignore[call-overload, no-any-return]


def test_standard_input_and_output_are_files_like_others(
    cap: str, tmp_path: Path, node: ServedNode
) -> None:
    done = swarm("obj", "put", "-", input=DATA, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    again = swarm("obj", "get", done.stdout.decode().strip(), "-", stdout=subprocess.PIPE)
    assert again.stdout == DATA


@pytest.mark.parametrize(
    "words", [("obj", "get", "CAP", "-"), ("obj", "cat", "CAP"), ("obj", "ls"), ("--help",)]
)
def test_a_full_disk_behind_standard_output_is_one_line(
    cap: str, words: tuple[str, ...], node: ServedNode
) -> None:
    with open("/dev/full", "wb") as full:
        done = swarm(*(cap if one == "CAP" else one for one in words), stdout=full)
    assert done.returncode == 1, done.stderr
    assert b"cannot write standard output: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize("words", [("obj", "get", "CAP", "-"), ("obj", "cat", "CAP")])
def test_a_reader_that_goes_away_ends_the_command_without_a_word(
    cap: str, words: tuple[str, ...], node: ServedNode
) -> None:
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # not all is written at once
    command = [sys.executable, "-m", "swarmnode.cli.main"]
    command += [cap if one == "CAP" else one for one in words]
    with subprocess.Popen(command, stdout=theirs.fileno(), stderr=subprocess.PIPE) as child:
        theirs.close()
        assert ours.recv(10)
        ours.close()
        assert child.stderr is not None
        assert child.stderr.read() == b""
        assert child.wait(30) == 141


@pytest.mark.parametrize(
    "words", ["status", "peer ls", "obj ls", "task ls", "config show", "--help"]
)
def test_every_command_ends_as_documented_when_nobody_reads_it(
    words: str, node: ServedNode
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = swarm(*words.split(), stdout=theirs)
    finally:
        os.close(theirs)
    assert done.returncode == 141, done.stderr
    assert done.stderr == b""


def test_an_empty_name_is_not_the_current_folder(
    node: ServedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/secret").write_text("stays here")
    monkeypatch.chdir(tmp_path / "here")
    assert run(["obj", "put", ""]) == 2
    assert objects(node) == 0


@pytest.mark.parametrize("has_unnamed", [True, False])
def test_of_a_get_that_is_killed_nothing_is_left_where_the_disk_can_do_that(
    has_unnamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_unnamed:
        monkeypatch.setattr(local_files, "_OPEN_FILES", tmp_path / "none")

    def chunks() -> Iterator[bytes]:
        yield b"12"
        seen.extend(one.name for one in tmp_path.iterdir())
        yield b"345"

    seen: list[str] = []
    target = tmp_path / "x"
    for text in (b"", b"old"):
        target.write_bytes(text)
        target.chmod(0o600)
        assert local_files.write_whole(chunks(), target, "x") == 5
        assert target.read_bytes() == b"12345"
        assert [one.name for one in tmp_path.iterdir()] == ["x"]
    parts = [name for name in seen if name != "x"]
    assert bool(parts) != (has_unnamed and can_be_unnamed(tmp_path))
    os.umask(mask := os.umask(0))
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("cut", [1 << 16, 1 << 20, 100_003])
def test_get_writes_zeros_as_holes_and_no_byte_differs(cut: int, tmp_path: Path) -> None:
    data = b"a" + bytes(5 << 20) + b"b" * 70_000 + bytes(3 << 20)
    chunks = (data[at : at + cut] for at in range(0, len(data), cut))
    assert local_files.write_whole(chunks, tmp_path / "x", "x") == len(data)
    assert (tmp_path / "x").read_bytes() == data
    assert (tmp_path / "x").stat().st_blocks * 512 < 1 << 20


def can_be_unnamed(folder: Path) -> bool:
    """Whether the file system of these tests has files without a name."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True
