"""What `obj` says about copies: kept, missing, given up; in words and in exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from p2p.ids import PeerId
from storage.facade import Forgotten, ObjectEntry, ObjectHealth, ObjectStat, ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_address
from swarmnode.cli.main import run
from swarmnode.cli.nouns.obj import removal_words
from testnet.sim.memory_objects import MemoryObjects
from tests.api_lab import served_node
from tests.fake_market import ADA, BOB

THING = text_of_address(Address(bytes(range(32))))


class Objects:
    """Answers as the test says."""

    gone: Forgotten | None = None
    found: ObjectStat | None = None

    async def forget(self, address: Address) -> Forgotten | None:
        await trio.lowlevel.checkpoint()
        return self.gone

    def entries(self) -> list[ObjectEntry]:
        return [ObjectEntry(ReadCap(Address(bytes(range(32))), ObjectKey(bytes(32))), "a", 9, 0)]

    async def stat(self, address: Address, *, ask: bool = True) -> ObjectStat:
        await trio.lowlevel.checkpoint()
        assert self.found is not None
        return self.found


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    monkeypatch.setenv("SWARM_API", str(tmp_path / "api.sock"))
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    scripted = Objects()
    monkeypatch.setattr(MemoryObjects, "forget", scripted.forget)
    monkeypatch.setattr(MemoryObjects, "stat", scripted.stat)
    monkeypatch.setattr(MemoryObjects, "entries", lambda _objects: scripted.entries())
    with served_node(tmp_path / "api.sock"):
        yield scripted


def test_rm_says_who_gives_it_up_later(
    objects: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    objects.gone = Forgotten((ADA, BOB, PeerId("12D3cyd")), (ADA,))
    assert run(["obj", "rm", THING]) == 0
    words = "2 of 3 holders gave it up; the other once it answers: ada"
    assert words in capsys.readouterr().out
    assert run(["obj", "rm", THING, THING]) == 0
    assert capsys.readouterr().out.count(words) == 1


def test_rm_in_json_names_those_it_waits_for(
    objects: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    objects.gone = Forgotten((ADA, BOB), (BOB,))
    assert run(["obj", "rm", THING, "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"v": 1, "changed": True, "holders": 2, "dropped": 1, "waiting": [BOB]}
    objects.gone = None
    assert run(["obj", "rm", THING, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False


def test_a_removal_is_told_in_words() -> None:
    assert removal_words(3, 3, []) == "all 3 holders gave it up"
    assert removal_words(1, 1, []) == "its holder gave it up"
    assert removal_words(3, 1, ["b", "c"]) == (
        "1 of 3 holders gave it up; the others once they answer: b, c"
    )


@pytest.mark.parametrize(
    ("health", "live", "code"),
    [(ObjectHealth.WHOLE, 3, 0), (ObjectHealth.DEGRADED, 2, 6), (ObjectHealth.UNREADABLE, 0, 6)],
)
@pytest.mark.parametrize("fmt", ["table", "json"])
def test_stat_tells_by_its_exit_code_that_shards_are_missing(
    objects: Objects,
    capsys: pytest.CaptureFixture[str],
    health: ObjectHealth,
    live: int,
    code: int,
    fmt: str,
) -> None:
    thing = Address(bytes(range(32)))
    held = tuple((0, at, peer, at < live) for at, peer in enumerate((ADA, BOB, PeerId("c"))))
    objects.found = ObjectStat(thing, "a", 9, 1, 3, 1, live, "words", held, 0, health)
    assert run(["obj", "stat", THING, "-o", fmt]) == code
    assert health.value in capsys.readouterr().out
