"""One state folder is one node."""

import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from p2p.errors import UnwritableFileError
from swarmnode.errors import AlreadyRunningError
from swarmnode.home.folders import Home, locate
from swarmnode.home.lock import LOCK_NAME, folders_of, only_one
from tests.small_disk import small_disk


def home_at(root: Path, runtime: str = "run") -> Home:
    found = locate({"HOME": str(root), "XDG_RUNTIME_DIR": str(root / runtime)})
    found.make()
    return found


def assert_refused(home: Home, words: str, tasks: str = "") -> None:
    with pytest.raises(AlreadyRunningError, match=words), only_one(home, tasks):
        pass


def test_another_runtime_folder_does_not_let_a_second_node_in(tmp_path: Path) -> None:
    words = f"pid {os.getpid()}.*kill.*SWARM_HOME"
    with only_one(home_at(tmp_path, "rt1")):
        assert_refused(home_at(tmp_path, "rt2"), words)
    with only_one(home_at(tmp_path, "rt2")):
        pass


def test_a_removed_runtime_folder_does_not_either(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    with only_one(home):
        (home.runtime / LOCK_NAME).unlink()
        home.runtime.rmdir()
        home.make()
        with pytest.raises(AlreadyRunningError, match=str(home.state)), only_one(home):
            pass


@pytest.mark.parametrize("shared", ["segments", "tasks", "store.lmdb", "state.lmdb"])
def test_two_homes_that_share_one_folder_of_state_are_two_nodes_in_it(
    tmp_path: Path, shared: str
) -> None:
    one = locate({"SWARM_HOME": str(tmp_path / "one")})
    other = locate({"SWARM_HOME": str(tmp_path / "other")})
    for home in (one, other):
        home.make()
    common = tmp_path / "common"
    common.mkdir()
    (common / "something").touch()
    for home in (one, other):
        (home.state / shared).symlink_to(common)
    with only_one(one):
        assert_refused(other, "a node already runs in")
    with only_one(other):
        pass


def test_two_homes_with_one_tasks_folder_are_two_nodes_in_it(tmp_path: Path) -> None:
    one = locate({"SWARM_HOME": str(tmp_path / "one")})
    other = locate({"SWARM_HOME": str(tmp_path / "other")})
    tasks = str(tmp_path / "tasks")
    assert Path(tasks) in folders_of(one, tasks)
    for home in (one, other):
        home.make()
    with only_one(one, tasks):
        assert_refused(other, "tasks", tasks)


def _hold(home: Home, held: "multiprocessing.Queue[int]") -> None:
    with only_one(home):
        held.put(os.getpid())
        multiprocessing.Event().wait()


def test_a_killed_node_leaves_no_lock_behind(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    home, held = home_at(tmp_path), spawn.Queue()
    holder = spawn.Process(target=_hold, args=(home, held))
    holder.start()
    pid = held.get(timeout=20)
    with pytest.raises(AlreadyRunningError, match=f"pid {pid}"), only_one(home):
        pass
    holder.kill()
    holder.join(20)
    with only_one(home):
        pass


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (home.state / LOCK_NAME).symlink_to(victim)
    with pytest.raises(UnwritableFileError, match=r"node\.lock"), only_one(home):
        pass
    assert victim.read_text() == "precious"


def test_a_full_disk_keeps_no_node_from_its_own_folder_nor_lets_a_second_in(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        home = locate({"SWARM_HOME": str(disk / "h")})
        home.make()
        (disk / "theirs").write_bytes(bytes(1 << 20))
        with only_one(home):
            assert_refused(home, "a node already runs in .*pid unknown")
        (disk / "theirs").unlink()
        with only_one(home):
            assert_refused(home, f"pid {os.getpid()}")


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("OURS HERE", r"stop it \(kill OURS;"),
        ("1 another-machine", r"pid 1 on another-machine\): stop it there,"),
        (f"{2**22 + 1} HERE", "not seen here.: stop it where it runs"),
    ],
)
def test_nobody_is_told_to_kill_a_process_that_is_another_one_here(
    tmp_path: Path, note: str, said: str
) -> None:
    home = home_at(tmp_path)
    with only_one(home):
        note = note.replace("OURS", str(os.getpid())).replace("HERE", socket.gethostname())
        (home.state / LOCK_NAME).write_text(note)
        assert_refused(home, said.replace("OURS", str(os.getpid())))
