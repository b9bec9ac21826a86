from collections.abc import Awaitable, Callable

import msgspec
import trio

from p2p.ids import PeerId
from storage.errors import HolderFailedError
from storage.transfer.race import Attempt, any_of
from storage.transfer.rates import Rates
from testnet.sim.seeded import simulated

PEER = PeerId("p1")


def comes(number: int, after_s: float, log: list[int] | None = None) -> Attempt[int]:
    async def ask() -> int:
        if log is not None:
            log.append(number)
        await trio.sleep(after_s)
        return number * 10

    return Attempt(number, ask)


def fails(number: int, after_s: float) -> Attempt[int]:
    async def ask() -> int:
        await trio.sleep(after_s)
        raise HolderFailedError(PEER, "missing", "not here")

    return Attempt(number, ask)


def never() -> Callable[[], float]:
    return lambda: 1000.0


def at_work() -> int:
    """What a source has sent that never pauses."""
    return int(trio.current_time() * 1000)


async def timed(work: Awaitable[object]) -> float:
    begun_s = trio.current_time()
    await work
    return trio.current_time() - begun_s


@simulated
async def test_no_more_is_asked_than_needed_while_all_goes_well() -> None:
    log: list[int] = []
    answers = await any_of(2, [comes(n, 1, log) for n in range(5)], never())
    assert answers.results == {0: 0, 1: 10}
    assert sorted(log) == [0, 1]


@simulated
async def test_a_failure_is_replaced_at_once_and_never_ends_the_search() -> None:
    attempts = [fails(0, 1), fails(1, 1), fails(2, 1), comes(3, 1), comes(4, 1)]
    begun_s = trio.current_time()
    answers = await any_of(2, attempts, never())
    assert answers.results == {3: 30, 4: 40}
    assert len(answers.failures) == 3
    assert trio.current_time() - begun_s <= 4


@simulated
async def test_a_slow_source_is_raced_by_another_one() -> None:
    attempts = [comes(0, 1), comes(1, 500), comes(2, 1)]
    begun_s = trio.current_time()
    answers = await any_of(2, attempts, lambda: 0.5)
    assert answers.results == {0: 0, 2: 20}
    assert trio.current_time() - begun_s < 3


@simulated
async def test_while_all_sources_send_it_is_our_line_that_is_slow_and_no_other_is_asked() -> None:
    log: list[int] = []
    sends = [msgspec.structs.replace(comes(n, 20, log), came_bytes=at_work) for n in range(3)]
    assert (await any_of(2, sends, lambda: 0.5, lambda: 30.0)).results == {0: 0, 1: 10}
    assert sorted(log) == [0, 1]
    await any_of(2, sends, lambda: 0.5, lambda: 5.0)
    assert sorted(log) == [0, 0, 1, 1, 2], "so late that another may be faster all the same"


@simulated
async def test_one_source_that_falls_silent_is_replaced_while_others_send() -> None:
    sends = [msgspec.structs.replace(comes(n, 20), came_bytes=at_work) for n in (0, 2)]
    answers = await any_of(2, [sends[0], comes(1, 500), sends[1]], lambda: 0.5, lambda: 900.0)
    assert answers.results == {0: 0, 2: 20}
    assert trio.current_time() < 22


@simulated
async def test_when_all_is_used_up_what_came_is_returned() -> None:
    answers = await any_of(3, [comes(0, 1), fails(1, 1), fails(2, 2)], lambda: 0.1)
    assert answers.results == {0: 0}
    assert await timed(any_of(1, [], never())) == 0


@simulated
async def test_one_key_counts_once() -> None:
    answers = await any_of(2, [comes(7, 1), comes(7, 1), comes(7, 1)], never())
    assert answers.results == {7: 70}


@simulated
async def test_late_is_later_than_nearly_all_answers_of_late() -> None:
    rates = Rates(0.5, 3.0)
    assert rates.hedge_s() == 0.5
    for _ in range(60):
        rates.worked(PEER, 1 << 20, 0.1)
    assert 0.1 < rates.hedge_s() < 0.2
    for _ in range(60):
        rates.worked(PEER, 1 << 20, 100.0)
    assert rates.hedge_s() == 3.0
    assert rates.late_s() == 150.0


@simulated
async def test_fast_holders_come_first_and_failed_ones_last_for_a_while() -> None:
    rates = Rates(0.5, 3.0)
    fast, slow, bad, new = PeerId("fast"), PeerId("slow"), PeerId("bad"), PeerId("new")
    rates.worked(fast, 1 << 20, 0.1)
    rates.worked(slow, 1 << 20, 1.0)
    rates.worked(bad, 1 << 20, 0.01)
    rates.failed(bad, 100.0)
    peers = [bad, slow, new, fast]
    assert sorted(peers, key=lambda p: rates.rank(p, 101.0)) == [fast, new, slow, bad]
    assert sorted(peers, key=lambda p: rates.rank(p, 200.0))[0] == bad


@simulated
async def test_holders_of_nearly_one_speed_are_alike() -> None:
    rates = Rates(0.5, 3.0)
    for name, s_per_mib in (("a", 0.30), ("b", 0.45), ("c", 0.90)):
        rates.worked(PeerId(name), 1 << 20, s_per_mib)
    ranks = [rates.rank(PeerId(name), 0.0) for name in "abc"]
    assert ranks[0] == ranks[1] < ranks[2]
