"""One person with many machines, all of which lie about the time."""

import trio
from msgspec.structs import replace

from p2p.ids import PeerId, PersonId
from storage.clocks.core import ClockStanding
from testnet.sim.seeded import simulated
from tests.sim.test_clocks_sim import SLOW, put
from tests.storage_lab import storage_lab

DAYS_MS = 40 * 24 * 3600 * 1000


@simulated
async def test_nobody_decides_what_time_it_is_by_having_many_machines() -> None:
    async with storage_lab(12, config=SLOW) as lab:
        liars = [f"p{number}" for number in range(4, 12)]
        for name in liars:
            peer = PeerId(name)
            one = lab.truth.members[peer]
            lab.truth.members[peer] = replace(one, person=PersonId("mallory"))
            lab.keepers[name].wall.step(DAYS_MS)
        await trio.sleep(120)
        honest = [lab[f"p{number}"] for number in range(4)]
        assert {one.clock.verdict.standing for one in honest} == {ClockStanding.RIGHT}
        assert not any(one.clock.is_wrong() for one in honest)
        receipt = await put(honest[0])
        assert set(receipt.holders) & {"p1", "p2", "p3"}
