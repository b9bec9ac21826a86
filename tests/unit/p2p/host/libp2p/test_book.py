"""Where peers may be dialled, and when it is worth trying again."""

import pytest

from p2p.host.peers.address_book import AddressBook, BackOffConfig
from p2p.ids import PeerId
from p2p.limits import ADDRESS_BOOK_PEERS_MAX, ADDRESSES_PER_PEER_MAX

ALICE, BOB = PeerId("alice"), PeerId("bob")
HOME, WORK = "/ip4/10.0.0.7/tcp/1", "/ip4/10.9.9.9/tcp/2"


def texts(book: AddressBook, peer: PeerId) -> list[str]:
    return [str(address) for address in book.of(peer)]


def test_the_newest_list_replaces_the_older_one() -> None:
    book = AddressBook()
    book.learn(ALICE, [HOME])
    book.learn(ALICE, [WORK, WORK])
    assert texts(book, ALICE) == [f"{WORK}/p2p/alice"]
    assert book.is_known_host("10.9.9.9")
    assert not book.is_known_host("10.0.0.7")


def test_an_address_is_of_the_peer_it_was_learned_for() -> None:
    book = AddressBook()
    book.learn(ALICE, [f"{HOME}/p2p/bob"])
    assert texts(book, ALICE) == [f"{HOME}/p2p/alice"]


def test_what_cannot_be_dialled_is_passed_over() -> None:
    book = AddressBook()
    book.learn(ALICE, ["nonsense", "/ip4/10.0.0.7/udp/1", "/ip4/10.0.0.7/tcp/0", HOME])
    assert texts(book, ALICE) == [f"{HOME}/p2p/alice"]
    book.learn(ALICE, ["nonsense"])
    assert book.of(ALICE) == ()


def test_a_peer_keeps_a_few_addresses_and_the_book_so_many_peers() -> None:
    book = AddressBook()
    book.learn(ALICE, [f"/ip4/10.0.0.7/tcp/{port}" for port in range(1, 50)])
    assert len(book.of(ALICE)) == ADDRESSES_PER_PEER_MAX
    for number in range(ADDRESS_BOOK_PEERS_MAX):
        book.learn(PeerId(str(number)), [WORK])
    assert book.of(ALICE) == ()
    assert not book.is_known_host("10.0.0.7")
    assert book.of(PeerId("0"))


def test_a_host_shared_by_two_peers_is_known_until_both_are_gone() -> None:
    book = AddressBook()
    book.learn(ALICE, [HOME])
    book.learn(BOB, [HOME])
    book.learn(ALICE, [])
    assert book.is_known_host("10.0.0.7")
    book.learn(BOB, [])
    assert not book.is_known_host("10.0.0.7")


def test_the_pause_after_failures_doubles_up_to_its_limit() -> None:
    book = AddressBook(BackOffConfig(first_s=1.0, most_s=3.0))
    book.learn(ALICE, [HOME])
    pauses = []
    for _ in range(4):
        book.failed(ALICE, 100.0, "no answer")
        pauses.append(next(s for s in range(10) if not book.reason_to_wait(ALICE, 100.0 + s)))
    assert pauses == [1, 2, 3, 3]
    assert book.reason_to_wait(ALICE, 101.0) == "no answer; next try in 2.0 s"


def test_success_and_other_addresses_end_the_pause() -> None:
    book = AddressBook()
    book.learn(ALICE, [HOME])
    book.failed(ALICE, 0.0, "no answer")
    book.learn(ALICE, [HOME])
    assert book.reason_to_wait(ALICE, 0.5) is not None
    book.learn(ALICE, [WORK])
    assert book.reason_to_wait(ALICE, 0.5) is None
    book.failed(ALICE, 0.0, "no answer")
    book.reached(ALICE)
    assert book.reason_to_wait(ALICE, 0.5) is None


@pytest.mark.parametrize(("first_s", "most_s"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_a_pause_that_makes_no_sense_is_refused(first_s: float, most_s: float) -> None:
    with pytest.raises(ValueError, match="first_s"):
        BackOffConfig(first_s, most_s)
