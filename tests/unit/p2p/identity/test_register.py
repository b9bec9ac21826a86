"""What removals and uses of invites are together: one register, the same for everybody."""

import random

import pytest

from p2p.errors import WireError
from p2p.identity.issue import proof_of
from p2p.identity.register.register import remove
from tests.register_lab import ANCHOR, ANN, BOB, CAROL, DAVE, NOW, is_out, let_in, register


def test_entries_of_other_kinds_are_none() -> None:
    made = register(ANN.token.certificates[0])
    assert (made.refused, made.removals.keys(), made.uses.keys()) == (0, [], [])
    with pytest.raises(WireError):
        made.removals.take(ANN.token.certificates[0], NOW)


@pytest.mark.parametrize("seed", range(5))
def test_registers_that_heard_the_same_in_any_order_agree(seed: int) -> None:
    dice = random.Random(seed)
    newcomers = ANN.invites(*(f"n{number}" for number in range(4)), uses=2)
    entries = [let_in(dice.choice((ANN, BOB, DAVE)), n, NOW - dice.randrange(9)) for n in newcomers]
    entries += [let_in(CAROL, n, NOW - dice.randrange(9)) for n in newcomers]
    entries += [ANN.removes(BOB, NOW - 5, ANN.keys.lab), BOB.removes(CAROL, NOW - 7)]
    made = []
    for _ in range(3):
        dice.shuffle(entries)
        made.append(register(*entries))
    everybody = (ANN, BOB, CAROL, DAVE, *newcomers)
    assert len({(r.removals.digest(), r.uses.digest()) for r in made}) == 1
    assert len({tuple(is_out(r, one) for one in everybody) for r in made}) == 1


def test_a_closed_invite_lets_nobody_in_and_those_who_came_before_stay() -> None:
    one, two, three = ANN.invites("early", "late", "other", uses=5)
    (link,) = [link for link in one.who.lineage if link.uses == 5]
    lab = ANN.keys.lab
    assert lab is not None
    proof = proof_of(lab, ANCHOR, ANN.token)
    closing = remove(lab, ANCHOR.network, link, proof, NOW - 5, closes=True)
    made = register(let_in(ANN, one, NOW - 9), let_in(BOB, two, NOW - 2), closing)
    assert [is_out(made, person) for person in (one, two, three)] == [False, True, True]
    why = made.why_out(two.who)
    assert why is not None
    assert "was closed by physics" in why.detail
    assert DAVE.keys.person is not None
    proof = proof_of(DAVE.keys.person, ANCHOR, DAVE.token)
    no_right = remove(DAVE.keys.person, ANCHOR.network, link, proof, NOW - 5, closes=True)
    assert not is_out(register(no_right), three)
