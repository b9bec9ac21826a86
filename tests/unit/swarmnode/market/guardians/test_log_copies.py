"""Logs at the other keepers: whole, once, of who acts alone, and nothing while nothing comes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from p2p.errors import RefusalError, RemoteRefusalError
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from storage.engine.memory_tables import MemoryTables
from swarmnode.limits import LOG_PUSH_BYTES_MAX
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.logs.copies import COPY_AT_BYTES, LogCopies
from swarmnode.market.guardians.messages import CopyLog, LogCopied
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import simulated

ME, BOB, CAROL = map(PeerId, ("me", "bob", "carol"))
TASK, EVERY_S = TaskId("a" * 16), 10.0
KNOWN = TaskRecord(TASK, TaskSpec(("true",)), 1000, fence=2)
RECORD = GuardRecord(TASK, ME, 1, 1, ME, (ME, BOB), (), KNOWN)


class Keeper:
    """One machine's log book and copies; ME acts."""

    def __init__(self, rpc: Rpc) -> None:
        self.me, self.tables = rpc.peer_id, MemoryTables()
        self.record: GuardRecord | None = RECORD
        self.up = True
        self.calls = 0
        self.book = LogBook(self.tables)
        self.copies = LogCopies(rpc, self, self.book, EVERY_S)

    def find(self, task: TaskId) -> GuardRecord | None:
        return self.record

    def post_of(self, task: TaskId) -> Post | None:
        return Post.ACTS if self.record and self.record.acting == self.me else Post.KEEPS

    def is_up(self, peer: PeerId) -> bool:
        return self.up

    async def prints(self, data: bytes, fence: int = 1) -> None:
        while data:
            _, have = self.book.extent(TASK, "stdout")
            have = have if self.book.extent(TASK, "stdout")[0] == fence else 0
            piece, data = data[:LOG_PUSH_BYTES_MAX], data[LOG_PUSH_BYTES_MAX:]
            await self.book.take(TASK, fence, "stdout", have, piece)

    async def all(self) -> bytes:
        read = self.book.read(TASK, "stdout", follow=lambda: False)
        return b"".join([piece async for piece in read])


@asynccontextmanager
async def keepers() -> AsyncIterator[tuple[Peers, Keeper, Keeper]]:
    async with rpc_peers((ME, BOB, CAROL)) as peers, trio.open_nursery() as nursery:
        mine, bobs = Keeper(peers[ME]), Keeper(peers[BOB])
        for one in (mine, bobs):
            await nursery.start(one.tables.run)
            nursery.start_soon(one.copies.run)
        yield peers, mine, bobs
        nursery.cancel_scope.cancel()


@simulated
async def test_what_is_printed_is_copied_once_it_is_old_enough_and_attempts_stay_apart() -> None:
    async with keepers() as (_, mine, bobs):
        await mine.prints(b"one ")
        await trio.sleep(EVERY_S / 2)
        assert await bobs.all() == b""
        await trio.sleep(EVERY_S)
        assert await bobs.all() == b"one "
        await mine.prints(b"two ")
        await mine.prints(b"again", fence=2)
        await trio.sleep(2 * EVERY_S)
        assert await bobs.all() == await mine.all() == b"one two again"
        assert bobs.book.extent(TASK, "stdout") == (2, 5)


@simulated
async def test_much_goes_at_once() -> None:
    async with keepers() as (_, mine, bobs):
        await mine.prints(b"x")
        await mine.prints(b"y" * COPY_AT_BYTES)
        await trio.sleep(EVERY_S / 2)
        assert len(await bobs.all()) == COPY_AT_BYTES + 1


@simulated
async def test_who_was_away_has_the_rest_later_and_nothing_twice() -> None:
    async with keepers() as (_, mine, bobs):
        await mine.prints(b"one ")
        await trio.sleep(2 * EVERY_S)
        mine.up = False
        await mine.prints(b"two ")
        await trio.sleep(5 * EVERY_S)
        assert await bobs.all() == b"one "
        mine.up = True
        mine.copies.look_at(TASK)
        await trio.sleep(2 * EVERY_S)
        assert await bobs.all() == b"one two "


@simulated
async def test_a_log_that_rests_costs_nothing() -> None:
    async with keepers() as (_, mine, bobs):
        await mine.prints(b"one ")
        await trio.sleep(3 * EVERY_S)
        assert await bobs.all() == b"one "
        copied = list[str]()
        bobs.find = lambda task: copied.append(task)  # type: ignore[method-assign]
        await trio.sleep(600)
        assert copied == []


@pytest.mark.parametrize(
    ("sender", "fence", "offset", "code"),
    [
        (CAROL, 1, 0, "stale"),
        (ME, 3, 0, "busy"),
        (ME, 0, 0, "busy"),
        (ME, 1, -1, "malformed"),
    ],
)
@simulated
async def test_only_who_acts_copies_and_only_attempts_that_are_known(
    sender: PeerId, fence: int, offset: int, code: str
) -> None:
    async with keepers() as (peers, _, bobs):
        with pytest.raises(RemoteRefusalError, match=code):
            await peers[sender].call(
                BOB,
                CopyLog(TASK, "stdout", fence, offset),
                LogCopied,
                traffic_class=TrafficClass.NORMAL,
                timeout_s=5,
                body=b"made up",
            )
        assert await bobs.all() == b""


@simulated
async def test_one_machine_s_share_of_what_is_kept_for_others_has_an_end() -> None:
    async with keepers() as (_, mine, bobs):
        limit = "swarmnode.market.guardians.logs.shares.LOG_COPIES_PER_MEMBER_MAX"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limit, LOG_PUSH_BYTES_MAX)
            await mine.prints(b"z" * 4 * LOG_PUSH_BYTES_MAX)
            await trio.sleep(3 * EVERY_S)
        kept = len(await bobs.all())
        assert LOG_PUSH_BYTES_MAX <= kept <= 2 * LOG_PUSH_BYTES_MAX


@simulated
async def test_what_lay_here_before_a_restart_counts_to_that_share() -> None:
    async with keepers() as (_, mine, bobs):
        limit = "swarmnode.market.guardians.logs.shares.LOG_COPIES_PER_MEMBER_MAX"
        await mine.prints(b"one ")
        await bobs.book.take(TASK, 1, "stdout", 0, b"one ")
        bobs.copies.found(TASK)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limit, 3)
            await mine.prints(b"two ")
            await trio.sleep(3 * EVERY_S)
        assert await bobs.all() == b"one "


class LyingKeeper:
    """Answers as a test says, in place of a keeper; CAROL keeps honestly."""

    def __init__(self, rpc: Rpc, tell: Callable[[int, CopyLog, bytes], LogCopied]) -> None:
        self.calls, self._tell = 0, tell
        rpc.serve(CopyLog, self._answer)

    async def _answer(self, _caller: Caller, ask: CopyLog, body: bytes) -> tuple[LogCopied, bytes]:
        await trio.sleep(0.01)
        self.calls += 1
        return self._tell(self.calls, ask, body), b""


def _nothing(number: int, _ask: CopyLog, _body: bytes) -> LogCopied:
    return LogCopied(1, number % 2)


def _the_rest_again(_number: int, ask: CopyLog, body: bytes) -> LogCopied:
    return LogCopied(ask.fence or 1, max(0, ask.offset + len(body) - 1))


def _never_yet(_number: int, _ask: CopyLog, _body: bytes) -> LogCopied:
    raise RefusalError("busy", "not yet")


@pytest.mark.parametrize("tell", [_nothing, _the_rest_again, _never_yet])
@pytest.mark.parametrize("state", [TaskState.RUNNING, TaskState.DONE])
@simulated
async def test_a_keeper_that_lies_of_what_it_has_costs_few_calls_and_no_other_keeper_its_copy(
    tell: Callable[[int, CopyLog, bytes], LogCopied], state: TaskState
) -> None:
    async with rpc_peers((ME, BOB, CAROL)) as peers, trio.open_nursery() as nursery:
        mine, carols = Keeper(peers[ME]), Keeper(peers[CAROL])
        liar = LyingKeeper(peers[BOB], tell)
        known = msgspec.structs.replace(KNOWN, state=state)
        for one in (mine, carols):
            one.record = msgspec.structs.replace(RECORD, roster=(ME, BOB, CAROL), task_record=known)
            await nursery.start(one.tables.run)
            nursery.start_soon(one.copies.run)
        await mine.prints(b"one " * 1000)
        await trio.sleep(10 * EVERY_S)
        await mine.prints(b"two ")
        await trio.sleep(3 * EVERY_S)
        assert await carols.all() == b"one " * 1000 + b"two "
        assert liar.calls < 60
        nursery.cancel_scope.cancel()


@simulated
async def test_who_keeps_the_task_again_has_its_log_again() -> None:
    async with keepers() as (_, mine, bobs):
        await mine.prints(b"one ")
        await trio.sleep(2 * EVERY_S)
        await bobs.book.forget(TASK)
        mine.record = msgspec.structs.replace(RECORD, roster=(ME, CAROL))
        mine.copies.look_at(TASK)
        await trio.sleep(2 * EVERY_S)
        mine.record = RECORD
        mine.copies.look_at(TASK)
        await trio.sleep(2 * EVERY_S)
        assert await bobs.all() == b"one "


@simulated
async def test_a_keeper_that_has_just_started_has_the_end_of_a_log_later() -> None:
    async with keepers() as (_, mine, bobs):
        bobs.record = None  # it loads
        await mine.prints(b"one ")
        await trio.sleep(2 * EVERY_S)
        bobs.record = RECORD
        await trio.sleep(2 * EVERY_S)
        assert await bobs.all() == b"one "
