"""What we keep for others is not freed on the word of one person."""

import pytest

from p2p.ids import PeerId
from storage.repair.witnesses import is_one_persons_word

PERSONS = {"m1": "mallory", "m2": "mallory", "b1": "bo", "o1": "owner", "w1": "ours"}


@pytest.mark.parametrize(
    ("signer", "keepers", "alone"),
    [
        ("m1", ["m1"], True),
        ("m1", ["m2", "m1"], True),
        ("m1", ["b1"], False),
        ("m1", ["m2", "b1"], False),
        ("b1", ["m1"], False),
        ("o1", ["o1"], False),  # the owner's own: they could free it anyway
        ("w1", ["w1"], False),  # of our own person
        ("x1", ["x1"], True),  # of nobody we know
        ("x1", ["x2"], False),
    ],
)
def test_signer_and_keepers_of_one_person_are_one_word(
    signer: str, keepers: list[str], alone: bool
) -> None:
    found = is_one_persons_word(
        PeerId(signer),
        [PeerId(peer) for peer in keepers],
        ("owner", "ours"),
        lambda peer: PERSONS.get(peer, peer),
    )
    assert found is alone
