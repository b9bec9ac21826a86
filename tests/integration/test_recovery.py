"""A machine is gone with all that was on it, and its person comes back by 24 words."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmnode.cli.client import ApiError, Client
from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.swarm_lab import people_of, put, submit, swarm_of, wait
from tests.job_lab import processes_with

PAUSE = ("sleep", f"600.{os.getpid()}")
"""No other process of this machine sleeps so long."""
WHERE = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x"


def typed(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command in a home."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("SWARM_")}
    given |= {"SWARM_HOME": str(home), "SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/0"}
    return subprocess.run(
        [sys.executable, "-m", "swarmnode.cli.main", *words],
        env=given, input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@contextmanager
def running(home: Path) -> Iterator[Client]:
    """A node in a home, killed at the end."""
    own = {
        "SWARM_HOME": str(home),
        "SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/0",
        "SWARM_NODE__PROFILE": "test",
        "SWARM_STORAGE__MIN_FREE_GIB": "0",
    }
    program = [sys.executable, "-m", "swarmnode.daemon"]
    with subprocess.Popen(program, env=os.environ | own, stderr=subprocess.DEVNULL) as daemon:
        try:
            client = Client(home / "run/api.sock")
            client.wait_ready(30)
            yield client
        finally:
            daemon.kill()
            daemon.wait(20)


def recover(friend: LocalNode, blank: Path, phrase: str) -> None:
    """Make a blank home that person's, with an invite of a machine that runs."""
    invite = typed(friend.home, "invite").stdout.strip()
    said = typed(blank, "recover", invite, stdin=phrase)
    assert said.returncode == 0, said.stderr


def text_of(client: Client, cap: str) -> bytes:
    return b"".join(client.download("/api/v1/objects/read", {"cap": cap}))


def called(client: Client, peer: str) -> tuple[str, str]:
    """What the owner of a machine, and their lab, are called there."""
    rows = client.get("/api/v1/members")
    mine = [row for row in rows if any(one["peer"] == peer for one in row["machines"])]
    return mine[0]["name"], mine[0]["lab_name"]


def is_copied(client: Client) -> bool:
    """Whether the pool has all that the node knows."""
    return not client.get("/api/v1/status")["counters"]["keyring_behind"]


def test_a_submitter_s_home_is_deleted_and_everything_is_read_back(tmp_path: Path) -> None:
    with swarm_of(4) as swarm:
        gone, friend = swarm.nodes[0], swarm.nodes[1]
        home = gone.home
        names = called(gone.client, gone.peer)
        phrase = typed(home, "key", "phrase").stdout
        assert len(phrase.split()) == 24
        kept = put(gone, b"a year of work" * 1000, "thesis")
        spec = {
            "run": ["sh", "-c", "echo result >out.txt; echo printed"],
            "outputs": ["out.txt"],
            "require": [friend.peer],
        }
        task = submit(gone, spec)
        done = wait(gone, task)
        assert done["state"] == "done"
        until(lambda: len(gone.client.get("/api/v1/objects")) == 2, within_s=20, what="both")
        addresses = friend.client.get("/api/v1/status")["addresses"]
        until(lambda: is_copied(gone.client), within_s=60, what="a copy in the pool")
        swarm.kill_daemon(gone)
        shutil.rmtree(home)

        blank = tmp_path / "b"
        said = typed(blank, "recover", "--address", addresses[0], stdin="wrong words")
        assert said.returncode == 2
        assert "24 words, not 2" in said.stderr
        said = typed(blank, "recover", "--address", addresses[0], stdin=phrase)
        assert said.returncode == 0, said.stderr
        assert phrase.split()[5] + " " + phrase.split()[6] not in said.stdout
        assert "your name: until then you are called" in said.stdout
        with running(blank) as client:
            until(lambda: len(client.get("/api/v1/objects")) == 2, within_s=60, what="objects")
            until(lambda: bool(client.get("/api/v1/tasks")), within_s=20, what="tasks")
            assert text_of(client, kept["cap"]) == b"a year of work" * 1000
            found = client.get(f"/api/v1/tasks/{task}")
            assert found["state"] == "done"
            assert text_of(client, found["outputs"][0]["cap"]) == b"result\n"
            path = f"/api/v1/tasks/{task}/logs?stream=stdout"
            assert b"".join(client.stream(path)) == b"printed\n"
            rows = client.get("/api/v1/objects")
            assert {one["name"] for one in rows} == {"thesis", f"output/{task}/out.txt"}
            removed = client.call("DELETE", f"/api/v1/objects/{kept['address']}")
            assert removed["changed"], "they are its owner's again"
            with pytest.raises(ApiError):
                client.call("DELETE", f"/api/v1/objects/{kept['address']}")
            assert (blank / "keys/lab.key").exists()
            assert not (blank / "recovering").exists()
            peer = client.get("/api/v1/status")["peer"]
            heard = friend.client
            until(lambda: called(heard, peer) == names, within_s=20, what="the name at a friend")
            assert called(client, peer) == names
            assert client.get("/api/v1/status")["lab"] == names[1]


def test_what_ended_a_moment_before_its_machine_was_lost_comes_back_with_its_log(
    tmp_path: Path,
) -> None:
    """No copy of the keyring knows of it: its guardians do, and its provider has the log."""
    with people_of(4) as swarm:
        friend, gone = swarm.nodes[0], swarm.nodes[1]
        phrase = typed(gone.home, "key", "phrase").stdout
        put(gone, b"a page", "page")
        until(lambda: is_copied(gone.client), within_s=60, what="a copy in the pool")
        spec = {
            "run": ["sh", "-c", "echo first; sleep 0.5; echo last; echo result >out.txt"],
            "outputs": ["out.txt"],
            "require": [friend.peer],
        }
        task = gone.client.call("POST", "/api/v1/tasks?detach=1", spec)["task"]
        assert wait(gone, task)["state"] == "done"
        swarm.kill_daemon(gone)
        shutil.rmtree(gone.home)

        blank = tmp_path / "b"
        recover(friend, blank, phrase)
        with running(blank) as client:
            until(lambda: bool(client.get("/api/v1/tasks")), within_s=60, what="the task")
            found = client.get(f"/api/v1/tasks/{task}/wait?timeout_s=60")
            assert found["state"] == "done"
            path = f"/api/v1/tasks/{task}/logs?stream=stdout"
            printed = b"first\nlast\n"
            until(lambda: b"".join(client.stream(path)) == printed, within_s=120, what="its log")
            assert text_of(client, found["outputs"][0]["cap"]) == b"result\n"
            until(lambda: is_copied(client), within_s=60, what="a copy with it")


def test_a_machine_that_was_only_thought_gone_follows_its_task_where_that_goes_on(
    tmp_path: Path,
) -> None:
    with people_of(4) as swarm:
        friend, gone = swarm.nodes[0], swarm.nodes[1]
        phrase = typed(gone.home, "key", "phrase").stdout
        kept = put(gone, b"photons", "in")
        spec = {
            "run": ["sh", "-c", f"cat in.txt; {' '.join(PAUSE)}; cat in.txt"],
            "inputs": {"in.txt": kept["cap"]},
            "require": [friend.peer],
            "name": "two looks",
        }
        task = gone.client.call("POST", "/api/v1/tasks?detach=1", spec)["task"]
        until(lambda: is_copied(gone.client), within_s=60, what="a copy in the pool")
        swarm.kill_daemon(gone)

        blank = tmp_path / "b"
        recover(friend, blank, phrase)
        with running(blank) as client:
            until(lambda: bool(client.get("/api/v1/tasks")), within_s=60, what="the task")
            swarm.start(gone)
            swarm.wait_ready(30)
            until(lambda: gone.client.get("/api/v1/tasks") == [], within_s=60, what="it lets go")
            assert "this machine was thought gone" in typed(gone.home, "status").stdout
            shown = typed(gone.home, "task", "show", "two looks")
            assert shown.returncode == 0, shown.stderr
            assert task in shown.stdout
            assert "kept at" in shown.stdout
            early = typed(gone.home, "task", "rm", task)
            assert early.returncode == 75, early.stderr
            for pause in processes_with("\0".join(PAUSE)):
                os.kill(pause, signal.SIGKILL)  # all have looked: it may end
            waited = typed(gone.home, "task", "wait", task)
            assert waited.returncode == 0, waited.stderr
            assert typed(gone.home, "task", "logs", task).stdout == "photonsphotons"
            assert client.get(f"/api/v1/tasks/{task}")["state"] == "done"
            assert len(client.get(f"/api/v1/tasks/{task}")["history"]) == 1, "it ran once"
            assert "goes on at another machine of yours" in gone.log_tail()
            removed = typed(gone.home, "task", "rm", "two looks")
            assert removed.returncode == 0, removed.stderr
            assert client.get("/api/v1/tasks") == []


def test_the_second_machine_of_a_person_is_destroyed_and_the_first_goes_on(tmp_path: Path) -> None:
    with swarm_of(3) as swarm:
        first = swarm.nodes[0]
        phrase = typed(first.home, "key", "phrase").stdout
        put(first, b"of the first", "first")
        second, third, own = tmp_path / "2", tmp_path / "3", tmp_path / "own"
        invite = typed(first.home, "invite", "--own-machine").stdout.strip()
        assert typed(own, "join", invite, "--name", "own").returncode == 0
        assert not (own / "keys/member.key").exists()
        with running(own) as client:
            apart = client.upload("/api/v1/objects?name=own", io.BytesIO(b"of its own"))
            until(lambda: is_copied(client), within_s=60, what="a copy of the one without the key")
        shutil.rmtree(own)
        _lose_ben(first, tmp_path / "ben")
        until(lambda: first.client.get("/api/v1/status")["notes"], within_s=60, what="a note")
        said = typed(first.home, "status")
        assert "own is off or gone" in said.stdout
        recover(first, second, phrase)
        with running(second) as client:
            until(lambda: not (second / "recovering").exists(), within_s=60, what="an end")
            rows = client.get("/api/v1/objects")
            assert [one["name"] for one in rows] == ["own"], "what lives is left where it is"
            assert text_of(client, apart["cap"]) == b"of its own"
            path = "/api/v1/objects?name=second"
            kept = client.upload(path, io.BytesIO(b"of the second"))
            until(lambda: is_copied(client), within_s=60, what="a copy of the second")
        until(lambda: is_copied(first.client), within_s=60, what="a copy of the first")
        shutil.rmtree(second)
        recover(first, third, phrase)
        with running(third) as client:
            until(lambda: not (third / "recovering").exists(), within_s=60, what="an end")
            rows = client.get("/api/v1/objects")
            assert {one["name"] for one in rows} == {"own", "second"}
            assert text_of(client, kept["cap"]) == b"of the second"
            warnings = first.client.get("/api/v1/status")["warnings"]
            assert not [one for one in warnings if "machine of yours" in one]


def join_as_ben(first: LocalNode, home: Path, *options: str) -> str:
    """One more person of the lab; their phrase."""
    invite = typed(first.home, "invite").stdout.strip()
    assert typed(home, "join", invite, "--person", "ben", *options).returncode == 0
    return typed(home, "key", "phrase").stdout


def _lose_ben(first: LocalNode, home: Path) -> None:
    """Of a person who wanted that, machine and phrase are lost: the lab's key has the phrase."""
    phrase = join_as_ben(first, home, "--lab-recovery")
    with running(home) as client:
        until(lambda: client.get("/api/v1/status")["notes"], within_s=60, what="lab recovery")
        assert "lab recovery is on" in typed(home, "status").stdout
        assert "by whoever holds the lab's key" in typed(home, "doctor").stdout
    shutil.rmtree(home)
    assert typed(first.home, "key", "phrase", "--of", "ben").stdout == phrase
    said = typed(first.home, "key", "phrase", "--of", "nobody")
    assert said.returncode != 0
    assert "nobody" in said.stderr


def test_a_home_that_is_somebody_s_is_not_recovered_into(tmp_path: Path) -> None:
    home = tmp_path / "h"
    assert typed(home, "init", "--new-network").returncode == 0
    phrase = typed(home, "key", "phrase").stdout
    said = typed(home, "recover", "--address", WHERE, stdin=phrase)
    assert said.returncode == 1
    assert "belongs to network" in said.stderr


def test_what_recover_could_not_print_it_says_when_it_is_asked_again(tmp_path: Path) -> None:
    home, blank = tmp_path / "h", tmp_path / "b"
    assert typed(home, "init", "--new-network", "--name", "alpha").returncode == 0
    phrase = typed(home, "key", "phrase").stdout
    invite = typed(home, "invite", "--address", WHERE).stdout.strip()
    given = os.environ | {"SWARM_HOME": str(blank)}
    command = [sys.executable, "-m", "swarmnode.cli.main", "recover", invite]
    with open("/dev/full", "w") as full:
        said = subprocess.run(
            command, env=given, input=phrase, stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    assert said.returncode == 1
    assert "this home is yours now all the same: swarmnode up" in said.stderr
    again = typed(blank, "recover", invite, stdin=phrase)
    assert again.returncode == 0, again.stderr
    assert "changed      no" in again.stdout
    assert "swarmnode up (it brings back" in again.stdout


def test_who_comes_back_by_an_invite_has_their_name_again_and_is_removed_by_it(
    tmp_path: Path,
) -> None:
    with swarm_of(3) as swarm:
        first = swarm.nodes[0]
        home, blank = tmp_path / "ben", tmp_path / "blank"
        phrase = join_as_ben(first, home)
        with running(home) as client:
            client.upload("/api/v1/objects?name=his", io.BytesIO(b"of ben"))
            until(lambda: is_copied(client), within_s=60, what="a copy")
        shutil.rmtree(home)
        recover(first, blank, phrase)
        with running(blank) as client:
            until(lambda: not (blank / "recovering").exists(), within_s=60, what="an end")
            peer = client.get("/api/v1/status")["peer"]
            assert called(client, peer)[0] == "ben"
            heard = first.client
            until(lambda: called(heard, peer)[0] == "ben", within_s=20, what="the name")
            assert typed(first.home, "member", "remove", "ben").returncode == 0


def test_an_invite_to_another_lab_brings_back_what_was_put_in_the_one_before(
    tmp_path: Path,
) -> None:
    with swarm_of(3) as swarm:
        first = swarm.nodes[0]
        home, blank = tmp_path / "ben", tmp_path / "blank"
        phrase = join_as_ben(first, home)
        with running(home) as client:
            kept = client.upload("/api/v1/objects?name=his", io.BytesIO(b"of ben"))
            until(lambda: is_copied(client), within_s=60, what="a copy")
            was = client.get("/api/v1/status")["peer"]
        shutil.rmtree(home)
        invite = typed(first.home, "invite", "--new-lab").stdout.strip()
        said = typed(blank, "recover", invite, "--lab", "other", stdin=phrase)
        assert said.returncode == 0, said.stderr
        with running(blank) as client:
            until(lambda: not (blank / "recovering").exists(), within_s=60, what="an end")
            peer = client.get("/api/v1/status")["peer"]
            assert called(client, peer) == ("ben", "other")
            assert text_of(client, kept["cap"]) == b"of ben"
            assert [one["name"] for one in client.get("/api/v1/objects")] == ["his"]
            removed = client.call("DELETE", f"/api/v1/objects/{kept['address']}")
            assert removed["changed"]
            assert set(removed["waiting"]) <= {was}, "who lives has given it up"


def test_init_says_the_phrase_once_and_never_in_a_document(tmp_path: Path) -> None:
    first = typed(tmp_path / "h", "init", "--new-network")
    assert "recovery phrase:" in first.stderr
    phrase = typed(tmp_path / "h", "key", "phrase").stdout.strip()
    assert phrase in first.stderr
    assert phrase not in first.stdout
    assert "recovery phrase" not in typed(tmp_path / "h", "init", "--new-network").stderr
    told = typed(tmp_path / "j", "init", "--new-network", "-o", "json")
    words = typed(tmp_path / "j", "key", "phrase").stdout.strip()
    assert words not in told.stdout + told.stderr
