"""Which machines are asked to run a task that has secrets."""

import msgspec
import pytest

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.messages import CallForBids
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import ADVERT, ALICE, BOB, CAROL, Desk

SPEC = TaskSpec(("true",), secrets=(("hf", "HF_TOKEN"),))
KNOWS = msgspec.structs.replace(ADVERT, knows_secrets=True, has_secret_place=True)
NO_PLACE = msgspec.structs.replace(KNOWS, has_secret_place=False)


def meet(desk: Desk, peer: PeerId, advert: ResourceAdvert, lab: str = "lab") -> None:
    desk.do(e.MemberStands(peer, Liveness.ALIVE, LabId(lab)), e.Advertised(peer, advert))


@pytest.mark.parametrize(
    ("advert", "lab", "told"),
    [
        (ADVERT, "lab", "older version"),
        (NO_PLACE, "lab", "compute.sandbox is container"),
        (KNOWS, "theirs", "another lab"),
    ],
)
def test_who_could_not_give_a_task_its_secrets_is_not_asked(
    advert: ResourceAdvert, lab: str, told: str
) -> None:
    desk = Desk()
    meet(desk, ALICE, NO_PLACE)
    meet(desk, BOB, advert, lab)
    desk.submit(SPEC)
    desk.run_for(1)
    assert desk.calls() == {}
    assert any(peer == BOB and told in why for peer, why in desk.rounds()[0].unfit)
    meet(desk, CAROL, KNOWS)
    desk.run_for(30)
    assert {(peer, call.secrets) for peer, call in desk.take(CallForBids)} == {(CAROL, True)}


def test_who_could_not_give_them_is_asked_for_a_task_that_has_none() -> None:
    desk = Desk()
    meet(desk, BOB, ADVERT)
    desk.submit()
    desk.run_for(0)
    assert [(peer, call.secrets) for peer, call in desk.take(CallForBids)] == [(BOB, False)]
