"""Whether another machine of a person is gone: the view alone is not believed."""

import pytest
import trio

from p2p.errors import PeerUnreachableError
from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness, Member, View
from swarmnode.recovery.others import UNKNOWN_S, MachineLife, Others
from testnet.sim.seeded import simulated

ME, LAPTOP = PeerId("me"), PeerId("laptop")


class Seen:
    """A view of one other machine, and whether it answers."""

    def __init__(self, liveness: Liveness | None, *, answers: bool = True) -> None:
        self._liveness, self._answers = liveness, answers
        self.is_settled = True

    def view(self) -> View:
        if self._liveness is None:
            return View(ME, ())
        return View(ME, (Member(LAPTOP, self._liveness, 1, (), "laptop", LabId("l"), "s", 0.0),))

    async def ping(self, peer: PeerId, count: int) -> None:
        await trio.lowlevel.checkpoint()
        if not self._answers:
            raise PeerUnreachableError(peer, "gone")

    def others(self) -> Others:
        return Others(self, self.ping, lambda: self.is_settled)


@pytest.mark.parametrize(
    ("liveness", "answers", "life"),
    [
        (Liveness.ALIVE, True, MachineLife.LIVES),
        (Liveness.SUSPECT, True, MachineLife.LIVES),
        (Liveness.ALIVE, False, MachineLife.UNSURE),
        (Liveness.DEAD, False, MachineLife.GONE),
        (Liveness.LEFT, False, MachineLife.GONE),
    ],
)
@simulated
async def test_a_machine_lives_when_it_answers_and_is_gone_when_it_is_called_dead(
    liveness: Liveness, life: MachineLife, *, answers: bool
) -> None:
    assert await Seen(liveness, answers=answers).others().life(LAPTOP) is life


@simulated
async def test_a_machine_that_nobody_knows_is_gone_after_a_while() -> None:
    others = Seen(None).others()
    assert await others.life(LAPTOP) is MachineLife.UNSURE
    await trio.sleep(UNKNOWN_S)
    assert await others.life(LAPTOP) is MachineLife.GONE


@simulated
async def test_while_the_pool_is_not_known_nobody_is_gone() -> None:
    seen = Seen(Liveness.DEAD)
    seen.is_settled = False
    assert await seen.others().life(LAPTOP) is MachineLife.UNSURE
