"""The node process as its operator meets it: faults are one line, signals do what is written."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2p.identity.issue import Grant, Names
from swarmnode.cli.client import ApiError, Client
from swarmnode.home import enrol
from swarmnode.home.folders import Home

NAMES = Names("box", "ann", "ann-lab", "", ("compute", "storage"))
NOW_MS = time.time_ns() // 1_000_000
DAEMON = (sys.executable, "-m", "swarmnode.daemon")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "n", tmp_path / "n", tmp_path / "n/cache", tmp_path / "n/run")
    enrol.found_network(found, NAMES, os.urandom, NOW_MS)
    return found


def environ(home: Home, **settings: str) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("SWARM_")}
    return {
        **plain,
        "SWARM_HOME": str(home.state),
        "SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/0",
        **settings,
    }


class Daemon:
    """One running node and what it says on stderr."""

    def __init__(self, home: Home, **settings: str) -> None:
        self.home = home
        self.client = Client(home.api_socket)
        self.process = subprocess.Popen(
            DAEMON, env=environ(home, **settings), stderr=subprocess.PIPE, text=True
        )

    def line_with(self, words: str) -> str:
        """The next line on stderr that holds the words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return line
        raise AssertionError(f"it ended without saying {words!r}")

    def end(self, number: int) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def start() -> Iterator[Callable[..., Daemon]]:
    started: list[Daemon] = []

    def start_one(home: Home, **settings: str) -> Daemon:
        started.append(Daemon(home, **settings))
        return started[-1]

    yield start_one
    for one in started:
        one.process.kill()
        one.process.wait(20)
        assert one.process.stderr is not None
        one.process.stderr.close()


def loose_key(home: Home) -> None:
    home.machine_key.chmod(0o644)


def damaged_membership(home: Home) -> None:
    home.membership_file.write_text("{")


def no_network(home: Home) -> None:
    home.membership_file.unlink()
    home.machine_key.unlink()


def table_that_is_none(home: Home) -> None:
    home.state_tables.mkdir()
    (home.state_tables / "data.mdb").write_bytes(b"SQLite format 3\0" * 1024)


def unknown_key(home: Home) -> None:
    home.config_file.write_text("[storage]\nquota_gb = 3\n")


@pytest.mark.parametrize(
    ("spoil", "settings", "code", "words"),
    [
        (no_network, {}, 4, "swarmnode join <invite>, or: swarmnode init --new-network"),
        (loose_key, {}, 4, "chmod 600"),
        (damaged_membership, {}, 4, "remove it and join again with an invite"),
        (table_that_is_none, {}, 1, "move it away to start anew"),
        (unknown_key, {}, 2, "did you mean 'quota_gib'?"),
        (None, {"SWARM_API__TCP": "127.0.0.1:0"}, 2, "`swarmnode api token` makes one"),
        (None, {"SWARM_LISTEN__ADDRESSES": "/ip4/192.0.2.1/tcp/0"}, 1, "see `ip address`"),
        (None, {"SWARM_LISTEN__ADDRESSES": "foo"}, 2, "'foo' is not like /ip4/10.0.0.7/tcp/4001"),
        (None, {"SWARM_API__TCP": "nonsense"}, 2, "'nonsense' is not HOST:PORT"),
    ],
)
def test_a_fault_of_the_operators_side_is_one_line_with_its_remedy(
    home: Home,
    spoil: Callable[[Home], None] | None,
    settings: dict[str, str],
    code: int,
    words: str,
) -> None:
    if spoil is not None:
        spoil(home)
    done = subprocess.run(
        DAEMON,
        env=environ(home, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_a_second_node_in_one_home_names_the_first(
    home: Home, start: Callable[..., Daemon]
) -> None:
    first = start(home)
    first.line_with("running as")
    second = start(home)
    assert f"(pid {first.process.pid})" in second.line_with("error: ")
    assert second.process.wait(20) == 1


def test_a_second_runtime_folder_lets_no_second_node_into_the_state(
    home: Home, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    state = home.state.rename(tmp_path / "swarm")
    there = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "SWARM_HOME": ""}
    first, second = (
        Home(tmp_path / ".config/swarm", state, tmp_path / ".cache/swarm", tmp_path / run / "swarm")
        for run in ("rt1", "rt2")
    )
    running = start(first, **there, XDG_RUNTIME_DIR=str(tmp_path / "rt1"))
    running.line_with("running as")
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*") if path.is_file()}
    late = start(second, **there, XDG_RUNTIME_DIR=str(tmp_path / "rt2"))
    said = late.line_with("error: ")
    assert f"a node already runs in {state} (pid {running.process.pid})" in said
    assert f"kill {running.process.pid}" in said
    assert late.process.wait(20) == 1
    after = {path: path.stat().st_mtime_ns for path in state.rglob("*") if path.is_file()}
    assert before == after


def test_why_nobody_can_be_joined_is_logged_within_ten_seconds(
    tmp_path: Path, home: Home, start: Callable[..., Daemon]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}"
        peer = enrol.standing(home, False, NOW_MS).peer
        made = enrol.make_invite(home, [f"{where}/p2p/{peer}"], Grant(), os.urandom, NOW_MS)
        other = Home(tmp_path / "o", tmp_path / "o", tmp_path / "o/cache", tmp_path / "o/run")
        enrol.join(other, made, NAMES, os.urandom, NOW_MS)
        began = time.monotonic()
        line = start(other).line_with("cannot join through")
        assert time.monotonic() - began < 10 + 5  # five for the start on a busy machine
    assert where in line
    assert "refuses connections" in line


def test_the_supervisor_hears_of_readiness_life_and_stopping(
    home: Home, tmp_path: Path, start: Callable[..., Daemon]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30)
        settings = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        daemon = start(home, **settings)
        assert [heard.recv(64) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        assert daemon.end(signal.SIGTERM) == 0
        rest = set()
        while b"STOPPING=1" not in rest:
            rest.add(heard.recv(64))


def test_signals_show_the_tasks_stop_and_stop_at_once(
    home: Home, start: Callable[..., Daemon]
) -> None:
    daemon = start(home)
    daemon.line_with("running as")
    daemon.process.send_signal(signal.SIGUSR1)
    assert "MembershipService.run" in daemon.line_with("p2p.membership.service")
    task = daemon.client.call("POST", "/api/v1/tasks", {"run": ["sleep", "60"], "env": "none"})
    daemon.process.send_signal(signal.SIGINT)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(20) == 0
    assert not home.api_socket.exists()
    again = start(home)
    again.line_with("running as")
    assert again.client.get(f"/api/v1/tasks/{task['task']}")["state"] != "done"
    with pytest.raises(ApiError, match="no such task"):
        again.client.get("/api/v1/tasks/nothing")
    assert again.end(signal.SIGINT) == 0


def test_a_node_whose_starter_blocks_sigterm_and_ignores_sigchld_runs_tasks_and_stops(
    home: Home, start: Callable[..., Daemon]
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        daemon = start(home)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, before)
    daemon.line_with("running as")
    if shutil.which("bwrap"):
        spec = {"run": ["sh", "-c", "exit 7"]}
        task = daemon.client.call("POST", "/api/v1/tasks", spec)["task"]
        ended = daemon.client.call("GET", f"/api/v1/tasks/{task}/wait?timeout_s=30")
        assert (ended["state"], ended["exit_code"]) == ("failed", 7)
    assert daemon.end(signal.SIGTERM) == 0
