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
    """The numbers of all lines; the last one of an attempt that was cut off is none."""
    numbers = []
    for line in text.decode().splitlines()[:-1]:
        found = re.search(rf"{word} (\d+)$", line)
        assert found, line
        assert found[1] == "1" or line == found[0], line
        numbers.append(int(found[1]))
    return numbers


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


def test_a_log_is_read_and_followed_elsewhere_when_provider_and_submitter_are_lost(
    tmp_path: Path,
) -> None:
    with swarm_of(4, TIMERS__ORPHAN_GRACE_S="4") as pool:
        mine = pool.nodes[0]
        task = begins(pool, {"run": ["/bin/sh", "-c", CHATTY], "avoid": [mine.peer]})
        provider, guardians = apart_from_its_guardians(pool, task)

        def followed() -> list[list[int]]:
            return attempts(lines((tmp_path / "followed").read_bytes()))

        with (tmp_path / "followed").open("wb") as file:
            words = [sys.executable, "-m", "swarmnode.cli.main", "task", "logs", "-f", task]
            env = guardians[0].environ
            with subprocess.Popen(words, env=env, stdout=file, stderr=subprocess.DEVNULL) as reader:
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
                    reader.kill()
        assert followed()[before - 1][-1] >= seen
        for node in guardians:
            for word, stream in (("line", "stdout"), ("err", "stderr")):
                had = attempts(lines(read_elsewhere(node, task, stream), word))
                assert had[before - 1][-1] >= seen
                assert all(is_whole(one) for one in had), "doubled, torn or with a gap"
        pool.start(mine)
        until(lambda: pool.is_ready(mine), within_s=30, what="the submitter is back")
        until(lambda: len(attempts(lines(log(mine, task)))) > before, within_s=30, what="its log")
        assert all(is_whole(one) for one in (*followed(), *attempts(lines(log(mine, task)))))
        mine.client.call("POST", f"/api/v1/tasks/{task}/cancel")


def is_whole(numbers: list[int]) -> bool:
    return numbers == list(range(1, len(numbers) + 1))


def attempts(numbers: list[int]) -> list[list[int]]:
    """Each begins with 1."""
    found: list[list[int]] = []
    for number in numbers:
        if number == 1 or not found:
            found.append([])
        found[-1].append(number)
    return found
