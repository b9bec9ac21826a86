"""What guests may ask for in a given time."""

import pytest
import trio

from p2p.host.libp2p.guests import Purse
from testnet.sim.seeded import simulated


@simulated
async def test_what_is_in_the_purse_costs_no_time() -> None:
    purse = Purse(per_s=10, most=50)
    assert [purse.wait_s(25), purse.wait_s(25)] == [0, 0]


@simulated
async def test_what_is_not_has_to_be_waited_for() -> None:
    purse = Purse(per_s=10, most=50)
    purse.wait_s(50)
    assert purse.wait_s(5) == pytest.approx(0.5)
    assert purse.wait_s(5) == pytest.approx(1.0), "behind the one who waits already"
    await trio.sleep(1)
    assert purse.wait_s(5) == pytest.approx(0.5)


@simulated
async def test_it_never_holds_more_than_it_can() -> None:
    purse = Purse(per_s=10, most=50)
    await trio.sleep(3600)
    assert purse.wait_s(50) == 0
    assert purse.wait_s(10) == pytest.approx(1.0)
