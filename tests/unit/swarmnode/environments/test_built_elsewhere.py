"""Who wants an environment that another machine of the lab has built just now waits for it."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from p2p.identity.keys import KeySigner
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness, Member, MemberChanged, View
from p2p.mesh import Mesh
from p2p.wire.envelope import Signed
from swarmnode.cli.client import Client
from swarmnode.cli.project import packages
from swarmnode.environments.builds import TAKEN_IN_MS, is_being_built
from swarmnode.environments.lab import LabRecords
from swarmnode.environments.records import EnvironmentRow
from swarmnode.market.explain import TaskView
from swarmnode.project.environment.lock import Lock
from swarmnode.tasks.environments.naming import COMMAND, UV, build_name
from swarmnode.tasks.environments.records import KnownRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.callers import LAB
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import simulated
from tests.api_lab import FakeEnvironments, served_node
from tests.fake_market import BOB
from tests.storage_lab import Board, BoardFace
from tests.unit.swarmnode.environments.test_records import RECORD, office

KEY, OTHER = b"k" * 32, b"o" * 32
NAMES = ("alice", "bob", "carol")


def task(state: TaskState, **changes: object) -> TaskView:
    spec = TaskSpec(
        name=build_name("requirements.txt", KEY.hex()), run=(*COMMAND, UV), env="build:3.11"
    )
    record = TaskRecord(TaskId("t1"), spec, 0, state=state)
    return TaskView(msgspec.structs.replace(record, **changes))


def test_it_is_being_built_from_the_award_until_it_is_taken_in() -> None:
    assert not is_being_built(KEY, [task(TaskState.SUBMITTED)], 0), "perhaps nobody can"
    assert is_being_built(KEY, [task(TaskState.RUNNING)], 0)
    assert not is_being_built(OTHER, [task(TaskState.RUNNING)], 0)
    done = task(TaskState.DONE, ended_ms=1000)
    assert is_being_built(KEY, [done], 1000 + TAKEN_IN_MS)
    assert not is_being_built(KEY, [done], 1001 + TAKEN_IN_MS)
    assert not is_being_built(KEY, [task(TaskState.FAILED)], 0)
    spec = msgspec.structs.replace(done.record.spec, run=("sleep", "1d"))
    assert not is_being_built(KEY, [task(TaskState.RUNNING, spec=spec)], 0), "by its name alone"


class Everybody:
    """Alive, all of one lab."""

    def view(self) -> View:
        members = (Member(PeerId(n), Liveness.ALIVE, 1, (), n, LAB, "", 0.0) for n in NAMES)
        return View(PeerId("alice"), tuple(members))

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        """Nothing changes."""


def records(
    peers: Peers, name: str, *, built: bytes = b"", of_key: Signed | None = None, lab: LabId = LAB
) -> LabRecords:
    signer = KeySigner.from_seed(name[:1].encode() * 32)
    board = BoardFace(PeerId(name), Board())
    dice = random.Random(1)
    mesh = Mesh(peers[name], Everybody(), board, signer, NetworkId("net"), dice, bytes, int)
    return LabRecords(mesh, lab, lambda _key: of_key, lambda key: key == built)


@simulated
async def test_a_lab_tells_who_has_it_built_and_what_is_there() -> None:
    async with rpc_peers(NAMES) as peers:
        alice = records(peers, "alice")
        records(peers, "bob", built=KEY)
        records(peers, "carol")
        told = await alice.read(KEY)
        assert (told.records, told.builders) == ([], ["bob"])
        assert (await alice.read(OTHER)).builders == []


@simulated
async def test_machines_of_another_lab_hear_nothing_of_builds() -> None:
    async with rpc_peers(NAMES) as peers:
        alice = records(peers, "alice")
        records(peers, "bob", built=KEY, lab=LabId("theirs"))
        assert (await alice.read(KEY)).builders == []


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(packages, "_AGAIN_S", 0.001)
    with served_node(tmp_path / "api.sock"):
        yield Client(tmp_path / "api.sock")


LOCK = Lock("x==1\n", "3.11", "x86_64", allow_build=False, name="requirements.txt")


def test_a_command_waits_for_another_machines_build_and_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = office()
    known = KnownRecord(RECORD, here.certify(RECORD), LAB)
    row = EnvironmentRow(known, "requirements.txt", 0)
    answers: Iterator[EnvironmentRow | PeerId] = iter([BOB, BOB, row])

    async def find(*_asked: object) -> EnvironmentRow | PeerId:
        return next(answers)

    monkeypatch.setattr(FakeEnvironments, "find", find)
    line = packages.build(client, LOCK)
    assert line["built"]["machine"] == "x86_64"
    assert capsys.readouterr().err.count("has it built just now: waiting for that") == 1


def test_when_that_build_came_to_nothing_it_is_not_waited_for_any_longer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([BOB, PeerId("")])

    async def find(*_asked: object) -> PeerId:
        return next(answers)

    monkeypatch.setattr(FakeEnvironments, "find", find)
    assert packages._awaited(client, LOCK) is None
