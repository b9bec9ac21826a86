"""Who is given the secrets of a task: its newest worker, its guardians, both of its lab."""

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from p2p.errors import RefusalError, RemoteRefusalError
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.service import Rpc
from p2p.ids import LabId, NetworkId, PeerId, TrafficClass
from p2p.mesh import Mesh
from storage.engine.memory_tables import MemoryTables
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.secrets.desk import SecretDesk
from swarmnode.market.secrets.messages import AskSecrets, ReadSecrets, SecretsGiven, SecretsTold
from swarmnode.market.secrets.shelf import LOOK_EVERY_S, TABLE, SecretShelf
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.secrets.box import OneTimeKey, opened_by_task
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import task_key
from testnet.sim.callers import machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner
from tests.market_lab import Board
from tests.seller_lab import Everybody

ME, BOB, CAROL, FOREIGN = map(PeerId, ("me", "bob", "carol", "foreign"))
TASK, SEED = TaskId("a" * 16), os.urandom(32)
VALUES = {"hf": b"what nobody else should know"}
RECORD = TaskRecord(
    TASK,
    TaskSpec(("true",), secrets=(("hf", "hf"),)),
    1000,
    state=TaskState.RUNNING,
    fence=3,
    provider=BOB,
    key=SEED,
)


class Desk:
    """At one machine: what it acts for and keeps is as a test says."""

    def __init__(self, rpc: Rpc) -> None:
        self.record: TaskRecord | None = None
        self.guard: GuardRecord | None = None
        self.tables, begun = MemoryTables(), trio.Event()
        begun.set()
        dice, me = random.Random(0), rpc.peer_id
        signer = KeyedHashSigner(me)
        mesh = Mesh(
            rpc, Everybody(), Board(), signer, NetworkId("net"), dice, os.urandom, VirtualWall()
        )
        self.desk = SecretDesk(
            mesh, self.tables, lambda _task: self.record, lambda _task: self.guard, begun
        )

    async def take_on(self, record: TaskRecord = RECORD) -> None:
        await self.desk.take_on(record, VALUES)
        self.record = record
        self.guard = GuardRecord(TASK, ME, 1, 1, ME, (CAROL, FOREIGN, ME), (), record)


@asynccontextmanager
async def desks() -> AsyncIterator[tuple[dict[PeerId, Rpc], Desk, Desk]]:
    """Four machines, one of another lab; the desks of ME and CAROL."""
    network = MemoryNetwork(random.Random(0), LinkModel())
    labs = {peer: LabId("theirs" if peer == FOREIGN else "lab") for peer in (ME, BOB, CAROL)}
    labs[FOREIGN] = LabId("theirs")
    hosts = {peer: MemoryHost(network, peer, machine_of(peer, lab)) for peer, lab in labs.items()}
    rpcs = {peer: Rpc(host) for peer, host in hosts.items()}
    mine, carols = Desk(rpcs[ME]), Desk(rpcs[CAROL])
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        for peer, host in hosts.items():
            for other in hosts:
                host.learn(other, [memory_address(other)])
            await nursery.start(rpcs[peer].run)
            await nursery.start(host.run)
        for one in (mine, carols):
            await nursery.start(one.tables.run)
            await nursery.start(one.desk.run)
        yield rpcs, mine, carols
        nursery.cancel_scope.cancel()


async def ask(rpc: Rpc, fence: int = 3) -> dict[str, bytes]:
    key = OneTimeKey()
    _, sealed = await rpc.call(
        ME,
        AskSecrets(TASK, fence, key.public),
        SecretsGiven,
        traffic_class=TrafficClass.NORMAL,
        timeout_s=5,
    )
    assert VALUES["hf"] not in sealed
    return key.open(f"{TASK}.{fence}", sealed).values()


async def read(rpc: Rpc, task: TaskId = TASK) -> bytes:
    call = ReadSecrets(task)
    _, sealed = await rpc.call(
        ME, call, SecretsTold, traffic_class=TrafficClass.NORMAL, timeout_s=5
    )
    return sealed


@simulated
async def test_the_newest_worker_is_given_them_and_nobody_else() -> None:
    async with desks() as (rpcs, mine, _):
        await mine.take_on()
        assert await ask(rpcs[BOB]) == VALUES
        assert not [row for _, row in mine.tables.scan(TABLE) if VALUES["hf"] in row]
        for rpc, fence in ((rpcs[CAROL], 3), (rpcs[BOB], 2), (rpcs[BOB], 4), (rpcs[FOREIGN], 3)):
            with pytest.raises(RemoteRefusalError, match="stale"):
                await ask(rpc, fence)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": TaskState.DONE}, "busy"),
        ({"state": TaskState.SUBMITTED}, "busy"),
        ({"lost_secrets": ("hf",)}, "removed"),
        ({"provider": FOREIGN}, "lab"),
    ],
)
@simulated
async def test_no_worker_is_given_them_when(changes: dict[str, object], code: str) -> None:
    async with desks() as (rpcs, mine, _):
        await mine.take_on()
        assert mine.record is not None
        mine.record = msgspec.structs.replace(RECORD, **changes)
        with pytest.raises(RemoteRefusalError, match=code):
            await ask(rpcs[mine.record.provider])


@simulated
async def test_what_lies_here_and_does_not_open_is_told_and_ends_nothing() -> None:
    async with desks() as (rpcs, mine, _):
        await mine.take_on()
        await mine.tables.transact(lambda view: view.put(TABLE, task_key(TASK), b"a torn page"))
        with pytest.raises(RemoteRefusalError, match="malformed"):
            await ask(rpcs[BOB])


@pytest.mark.parametrize("secret_to", [("theirs",), ("any",)])
@simulated
async def test_a_worker_of_another_lab_is_given_them_where_that_was_said(
    secret_to: tuple[str, ...],
) -> None:
    async with desks() as (rpcs, mine, _):
        spec = msgspec.structs.replace(RECORD.spec, secret_to=secret_to)
        await mine.take_on(msgspec.structs.replace(RECORD, spec=spec, provider=FOREIGN))
        assert await ask(rpcs[FOREIGN]) == VALUES


@simulated
async def test_a_guardian_of_the_lab_reads_them_sealed_and_can_hand_them_on() -> None:
    async with desks() as (rpcs, mine, carols):
        await mine.take_on()
        sealed = await read(rpcs[CAROL])
        assert opened_by_task(SEED, TASK, sealed).values() == VALUES
        with pytest.raises(RemoteRefusalError, match="unknown"):
            await read(rpcs[BOB])  # the worker is none of its keepers
        with pytest.raises(RemoteRefusalError, match="lab"):
            await read(rpcs[FOREIGN])
        await carols.desk.bring(ME, RECORD)
        assert [row for _, row in carols.tables.scan(TABLE)] == [sealed]


@simulated
async def test_whatever_a_member_calls_a_task_that_is_none_here() -> None:
    """An id that no table takes as a key ended the node."""
    async with desks() as (rpcs, _, _):
        for task in ("", "x" * 1000, "\0", TASK):
            with pytest.raises(RemoteRefusalError, match="no secrets of such a task"):
                await read(rpcs[CAROL], TaskId(task))


@simulated
async def test_a_record_whose_secrets_cannot_be_had_now_is_not_taken() -> None:
    async with desks() as (_, mine, carols):
        await mine.take_on()
        with pytest.raises(RefusalError, match="busy"):
            await carols.desk.bring(PeerId("nobody"), RECORD)
        mine.guard = None  # nobody has any: the record itself is kept
        await carols.desk.bring(ME, RECORD)
        assert carols.tables.scan(TABLE) == []


@pytest.mark.parametrize(
    "changes", [{"state": TaskState.CANCELLED}, {"lost_secrets": ("hf",)}, None]
)
@simulated
async def test_what_no_open_task_needs_is_let_go(changes: dict[str, object] | None) -> None:
    async with desks() as (_, mine, carols):
        await mine.take_on()
        await carols.desk.bring(ME, RECORD)
        gone = None if changes is None else msgspec.structs.replace(RECORD, **changes)
        mine.record, mine.guard = gone, None
        mine.desk.look_at(TASK)
        await trio.sleep(3 * LOOK_EVERY_S)
        assert (mine.tables.scan(TABLE), carols.tables.scan(TABLE)) == ([], [])


@simulated
async def test_a_machine_s_share_of_what_is_guarded_counts_what_lay_here_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("swarmnode.market.secrets.shelf.SECRETS_GUARDED_PER_MEMBER_MAX", 1000)
    async with desks() as (_, _, carols):
        await carols.tables.transact(
            lambda view: view.put(TABLE, task_key(TaskId("b" * 16)), bytes(900))
        )
        whose: dict[TaskId, PeerId] = {}
        shelf = SecretShelf(carols.tables, lambda _task: True, whose.get)
        async with trio.open_nursery() as nursery:
            await nursery.start(shelf.run)
            whose[TaskId("b" * 16)] = ME
            with pytest.raises(RefusalError, match="full"):
                await shelf.keep(TASK, bytes(200), ME)
            whose.clear()  # ours: of nobody's share
            await shelf.keep(TASK, bytes(200), ME)
            nursery.cancel_scope.cancel()
