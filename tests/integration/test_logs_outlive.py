"""What a task has printed is read when its machine and the submitter's are both lost."""

import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from swarmnode.cli.client import ApiError
from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import log, submit, swarm_of, view
from tests.integration.test_recovery import is_copied, running, typed
from tests.integration.test_secrets import apart_from_its_guardians

CHATTY = "i=0; while :; do i=$((i+1)); echo line $i; echo err $i >&2; sleep 0.05; done"
COPIED_S = 3.0
"""In the profile of tests: half a lease."""


def lines(text: bytes, word: str = "line") -> list[int]:
    """The numbers of all lines; one that is torn is none."""
    found = [re.fullmatch(rf"{word} (\d+)", line) for line in text.decode().splitlines()]
    assert all(found[:-1]), text[-200:]
    return [int(one[1]) for one in found if one]


def begins(pool: LocalSwarm, spec: dict[str, object]) -> str:
    mine = pool.nodes[0]
    task = submit(mine, spec)
    until(lambda: view(mine, task)["state"] == "running", within_s=30, what="it runs")
    until(lambda: len(view(mine, task)["guardians"]) == 2, within_s=30, what="two guardians")
    return task


def printed_before(node: LocalNode, task: str) -> int:
    """What there was of it longer ago than a copy may take."""
    seen = lines(log(node, task))[-1]
    then_s = time.monotonic()
    late_s = then_s + 2 * COPIED_S + 1
    until(lambda: time.monotonic() > late_s, within_s=60, what="two copies")
    return seen


def read_elsewhere(node: LocalNode, task: str, stream: str = "stdout") -> bytes:
    return b"".join(node.client.stream(f"/api/v1/tasks/{task}/logs?stream={stream}"))


def test_a_log_is_read_elsewhere_after_provider_and_submitter_are_lost() -> None:
    with swarm_of(4) as pool:
        mine, provider, *others = pool.nodes
        task = begins(pool, {"run": ["/bin/sh", "-c", CHATTY], "require": [provider.peer]})
        seen = printed_before(mine, task)
        pool.kill_machine(provider)
        pool.kill_machine(mine)

        def known() -> bool:
            return any(lines(read_elsewhere(node, task)) for node in others)

        until(known, within_s=60, what="another machine of the person has it")
        for word, stream in (("line", "stdout"), ("err", "stderr")):
            for node in others:
                had = lines(read_elsewhere(node, task, stream), word)
                assert had == list(range(1, len(had) + 1)), "doubled, torn or with a gap"
                assert len(had) >= seen, f"of {seen}"
        pool.start(mine)
        until(lambda: pool.is_ready(mine), within_s=30, what="the submitter is back")
        had = lines(log(mine, task))
        assert had == list(range(1, len(had) + 1))
        pool.start(provider)
        pool.wait_ready(30)
        again = lines(log(mine, task))
        assert again[: len(had)] == had
        mine.client.call("POST", f"/api/v1/tasks/{task}/cancel")


def test_recover_on_a_blank_machine_shows_what_a_lost_machine_had_run(tmp_path: Path) -> None:
    with swarm_of(4) as pool:
        mine, provider, friend, _ = pool.nodes
        phrase = typed(mine.home, "key", "phrase").stdout
        task = begins(pool, {"run": ["/bin/sh", "-c", CHATTY], "require": [provider.peer]})
        seen = printed_before(mine, task)
        until(lambda: is_copied(mine.client), within_s=60, what="a copy in the pool")
        pool.kill_machine(provider)
        pool.kill_machine(mine)
        shutil.rmtree(mine.home)
        address = friend.client.get("/api/v1/status")["addresses"][0]
        said = typed(tmp_path / "b", "recover", "--address", address, stdin=phrase)
        assert said.returncode == 0, said.stderr
        with running(tmp_path / "b") as client:

            def had() -> list[int]:
                with suppress(ApiError):  # not known yet
                    path = f"/api/v1/tasks/{task}/logs?stream=stdout"
                    return lines(b"".join(client.stream(path)))
                return []

            until(lambda: len(had()) >= seen, within_s=90, what="its log is back")
            assert had() == list(range(1, len(had()) + 1)), "doubled, torn or with a gap"


def test_who_follows_a_log_elsewhere_goes_on_when_both_are_lost(tmp_path: Path) -> None:
    with swarm_of(4, TIMERS__ORPHAN_GRACE_S="4") as pool:
        mine = pool.nodes[0]
        task = begins(pool, {"run": ["/bin/sh", "-c", CHATTY], "avoid": [mine.peer]})
        provider, guardians = apart_from_its_guardians(pool, task)
        reader = guardians[0]

        def followed() -> list[list[int]]:
            return attempts(lines((tmp_path / "followed").read_bytes()))

        with (tmp_path / "followed").open("wb") as file:
            words = [sys.executable, "-m", "swarmnode.cli.main", "task", "logs", "-f", task]
            with subprocess.Popen(words, env=reader.environ, stdout=file) as follower:
                try:
                    seen = printed_before(mine, task)
                    before = len(followed())
                    pool.kill_machine(provider)
                    pool.kill_machine(mine)
                    until(
                        lambda: len(followed()) > before and len(followed()[-1]) > 20,
                        within_s=90,
                        what="the next attempt is followed",
                    )
                finally:
                    follower.kill()
        assert followed()[before - 1][-1] >= seen
        for one in followed():
            assert one == list(range(1, len(one) + 1)), "doubled, torn or with a gap"


def attempts(numbers: list[int]) -> list[list[int]]:
    """Each begins with 1."""
    found: list[list[int]] = []
    for number in numbers:
        if number == 1 or not found:
            found.append([])
        found[-1].append(number)
    return found
