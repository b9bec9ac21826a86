"""Ctrl-C, SIGTERM and SIGHUP to a command: while modules are being loaded, and while a task runs.

Which modules have been loaded is told by the interpreter itself.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from tests.api_lab import ServedNode

ROOT = Path(__file__).parents[4]
ENTRY = ("-m", "swarmnode.cli.entry")
IMPORT = "import time:"
T1 = TaskId("t1")


def interrupted_after(
    words: Sequence[str], modules: Sequence[str], home: Path, number: int = signal.SIGINT
) -> tuple[int, str]:
    """Exit code and what was said, of a program that got a signal once it had these modules."""
    environ = os.environ | {"SWARM_HOME": str(home), "PYTHONPROFILEIMPORTTIME": "1"}
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        for module in modules:
            while not (line := child.stderr.readline()).rstrip().endswith(f" {module}"):
                assert line, f"{module} was never loaded"
        child.send_signal(number)
        said = [line for line in child.stderr if not line.startswith(IMPORT)]
        return child.wait(30), "".join(said)


@pytest.mark.parametrize(
    "module", ["click._compat", "click", "swarmnode.cli.exits", "swarmnode.cli.client"]
)
def test_ctrl_c_while_a_command_is_loaded_is_130_without_a_word(
    module: str, tmp_path: Path
) -> None:
    words = (*ENTRY, "status", "--wait", "60")
    code, said = interrupted_after(words, [module], tmp_path)
    assert (code, said) == (130, "")


def test_ctrl_c_in_a_command_is_one_line(tmp_path: Path) -> None:
    words = (*ENTRY, "status", "--wait", "60")
    code, said = interrupted_after(words, ["swarmnode.home.folders"], tmp_path)
    assert code == 130
    assert said.strip() in ("", "error: interrupted")


@pytest.mark.parametrize("module", ["p2p.errors", "storage.errors", "swarmnode.errors"])
def test_ctrl_c_while_the_node_is_loaded_is_130_without_a_word(module: str, tmp_path: Path) -> None:
    code, said = interrupted_after(("-m", "swarmnode.daemon"), [module], tmp_path)
    assert (code, said) == (130, "")


@pytest.mark.parametrize("modules", [["swarmnode.home.config"], ["swarmnode.boot.early", "site"]])
def test_ctrl_c_while_a_command_becomes_the_node_is_130_without_a_word(
    modules: list[str], tmp_path: Path
) -> None:
    code, said = interrupted_after((*ENTRY, "run"), modules, tmp_path)
    assert code == 130
    assert said.strip() in ("", "error: interrupted")


LATE: str = """
import os, signal, sys

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

last = Last()  # goes when the interpreter clears its modules
sys.argv = ["swarm", *sys.argv[1:]]
from swarmnode.cli.entry import main
main()
"""


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["nosuch"], 2)])
def test_ctrl_c_when_all_is_written_changes_nothing(words: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE, *words], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == code


def test_sigterm_while_a_command_is_loaded_ends_it_without_a_word(tmp_path: Path) -> None:
    words = (*ENTRY, "status", "--wait", "60")
    code, said = interrupted_after(words, ["click"], tmp_path, signal.SIGTERM)
    assert (code, said) == (-signal.SIGTERM, "")


def test_a_job_in_the_background_goes_on_ignoring_ctrl_c(tmp_path: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    early = "from swarmnode.boot.early import leave_on_interrupt"
    script = f"{ignoring}; {early}; leave_on_interrupt()"
    check = "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    subprocess.run([sys.executable, "-c", f"{script}; {check}"], cwd=ROOT, check=True)


@pytest.mark.parametrize("options", [[], ["--detach"]])
def test_ctrl_c_before_the_node_has_answered_a_task_says_where_to_look(
    options: list[str], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "api.sock"))
        door.listen()
        environ = os.environ | {"SWARM_API": str(tmp_path / "api.sock")}
        words = [*ENTRY, "task", "submit", *options, "--", "x"]
        with subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
        ) as child:
            while not (asked := door.accept()[0]).recv(65536).startswith(b"POST /api/v1/tasks"):
                asked.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"person": ""}')
                asked.close()
            with asked:
                child.send_signal(signal.SIGINT)
                _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert said.splitlines()[0].endswith("see swarmnode task ls")


@pytest.mark.parametrize("is_whole", [True, False])
def test_ctrl_c_in_a_put_of_which_the_node_has_all_bytes_says_where_it_is_if_it_was_stored(
    is_whole: bool, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "api.sock"))
        door.listen()
        environ = os.environ | {"SWARM_API": str(tmp_path / "api.sock")}
        with subprocess.Popen(
            [sys.executable, *ENTRY, "obj", "put", "-"], cwd=ROOT, env=environ,
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdin is not None
            assert child.stderr is not None
            child.stdin.write(b"x" * 100)
            child.stdin.flush()
            if is_whole:
                child.stdin.close()
            begun = b"POST /api/v1/objects"
            while not (got := (asked := door.accept()[0]).recv(65536)).startswith(begun):
                answer = b'{"person": "", "state": "ready"}'
                asked.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
                asked.sendall(answer)
                asked.close()
            with asked:
                while is_whole and not got.endswith(b"0\r\n\r\n"):
                    got += asked.recv(65536)
                child.send_signal(signal.SIGINT)
                said = child.stderr.read().decode()
                assert child.wait(30) == 130
    assert ("see swarmnode obj ls" in said) == is_whole
    assert said.endswith("error: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_says_that_the_task_goes_on_and_how_to_return(
    node: ServedNode, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "swarmnode.cli.main", "run", "-n", "--", "true"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=os.environ["SWARM_HOME"]
    ) as ours:
        assert ours.stderr is not None
        assert "task t1\n" in iter(ours.stderr.readline, "")
        ours.send_signal(number)
        said = ours.stderr.read()
        assert ours.wait(20) == 128 + number
    assert node.do(lambda market: market.buyer.views[T1].state) is TaskState.SUBMITTED
    (line,) = said.splitlines()
    assert line.startswith("task t1 goes on: swarmnode task logs -f t1 shows")


def test_who_is_told_to_end_before_the_node_has_answered_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_API", str(tmp_path / "deaf.sock"))
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "deaf.sock"))
        door.listen()
        command = [sys.executable, "-m", "swarmnode.cli.main", "task", "submit", "--", "x"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as ours:
            while not (asked := door.accept()[0]).recv(65536).startswith(b"POST /api/v1/tasks"):
                asked.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"person": ""}')
                asked.close()
            with asked:
                ours.terminate()
                _, said = ours.communicate(timeout=30)
    assert ours.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[0].endswith("see swarmnode task ls")


def test_a_run_that_outlives_its_terminal_goes_on_as_nohup_wants(node: ServedNode) -> None:
    command = ["nohup", sys.executable, "-m", "swarmnode.cli.main", "run", "-n", "--", "true"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=os.environ["SWARM_HOME"]
    ) as ours:
        assert ours.stderr is not None
        assert "task t1\n" in iter(ours.stderr.readline, "")
        ours.send_signal(signal.SIGHUP)
        node.do(lambda market: market.buyer.finish(T1))
        assert ours.wait(20) == 0


def test_who_is_told_to_end_ends_also_where_nobody_reads_what_is_said(node: ServedNode) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "swarmnode.cli.main", "task", "submit", "--", "x"]
    with subprocess.Popen(command, stderr=writer, cwd=ROOT) as ours:
        os.set_blocking(reader, True)
        assert os.read(reader, 4096).startswith(b"task t1")
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writer, bytes(4096)):
                continue
        os.set_blocking(writer, True)
        ours.terminate()
        assert ours.wait(20) == 128 + signal.SIGTERM
    os.close(reader)
    os.close(writer)
