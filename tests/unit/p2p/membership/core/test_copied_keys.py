"""Two machines with one key, and one that starts often."""

from p2p.ids import LabId, PeerId
from p2p.membership.messages import PRESENCE_DOMAIN, News, Presence, Spread
from p2p.wire.envelope import Signed, seal
from testnet.sim.signer import KeyedHashSigner
from tests.membership_lab import ALICE, BOB, ME, NET, Lab


def of_life(peer: PeerId, life: int, incarnation: int) -> Signed:
    said = Presence((f"/memory/{peer}/{life}",), "n", LabId("lab"), "", life=life)
    return seal(
        KeyedHashSigner(peer), NET, PRESENCE_DOMAIN, said, sequence=incarnation, expires_ms=0
    )


def test_a_key_that_two_machines_speak_with_is_noticed_by_the_others() -> None:
    lab = Lab(ALICE, BOB)
    for step in range(6):
        assert lab.core.twins(lab.now_s) == {}
        lab.hear(Spread(News((of_life(BOB, 100 + step % 2, 200 + step),))))
    assert lab.core.twins(lab.now_s) == {BOB: ("/memory/bob/100", "/memory/bob/101")}
    assert lab.core.twins(lab.now_s + 61) == {}


def test_a_machine_notices_that_another_one_speaks_with_its_key_and_answers_it_calmly() -> None:
    lab = Lab(ALICE, BOB)
    answers = []
    for _ in range(10):
        before = lab.incarnation
        lab.hear(Spread(News((of_life(ME, 500, before + 1),))))
        answers.append(lab.incarnation > before)
        lab.now_s += 1
    assert answers[:2] == [True, True]
    assert not any(answers[2:])
    assert lab.core.twins(lab.now_s) == {ME: ("/memory/me", "/memory/me/500")}
    lab.now_s += 10
    lab.hear(Spread(News((of_life(ME, 500, lab.incarnation + 1),))))
    assert lab.incarnation > before


def test_a_machine_that_restarts_often_is_one_machine() -> None:
    lab = Lab(ALICE, BOB)
    for step in range(20):
        lab.hear(Spread(News((of_life(BOB, 100 + step, 200 + 2 * step),))))
        lab.hear(Spread(News((of_life(BOB, 100 + step, 201 + 2 * step),))))
    lab.hear(Spread(News((of_life(ME, 500, 900),))))  # of our earlier run, its clock was ahead
    assert lab.incarnation == 901
    assert lab.core.twins(lab.now_s) == {}
