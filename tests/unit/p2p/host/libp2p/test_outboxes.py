"""The boxes of all peers: who has a place among so many."""

from types import SimpleNamespace
from typing import cast

from p2p.host.peers.outboxes import Boxes
from p2p.host.peers.peer import PeerConn
from p2p.ids import PeerId
from p2p.qos.scheduler import SchedulerConfig

ALICE, BOB, CAROL = PeerId("alice"), PeerId("bob"), PeerId("carol")
CLOSING = cast("PeerConn", SimpleNamespace(is_live=False))


def boxes(*connected: PeerId, peers_max: int = 2) -> Boxes:
    some = Boxes(SchedulerConfig(), peers_max)
    for peer in connected:
        some.of(peer).conn = CLOSING
    return some


def test_a_peer_whose_connection_is_closing_has_its_place_and_nobody_else_one() -> None:
    full = boxes(ALICE, BOB)
    assert full.live_conn(ALICE) is None
    assert full.has_place(ALICE)
    assert not full.has_place(CAROL)


def test_who_waits_for_a_connection_takes_no_place() -> None:
    some = boxes(ALICE)
    some.of(BOB)
    assert some.has_place(CAROL)


def test_where_nobody_may_be_connected_nobody_has_a_place() -> None:
    assert not boxes(peers_max=0).has_place(ALICE)
