"""Machines that are no members any more, or never were: they have no connection."""

import pytest
import trio

from p2p.errors import AdmissionError, PeerUnreachableError
from p2p.host.admission.exchange import TokenAdmission
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.rpc.echo import EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.identity.admission import Anchor, Clocks, check_token
from p2p.identity.issue import DAY_MS, Keys, Names, found
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.records import MembershipToken
from p2p.ids import PeerId, TrafficClass
from p2p.membership.messages import News, Spread
from storage.records.names.messages import (
    NameHeld,
    NameRead,
)
from testnet.sim.clock import START_MS
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.security.who_may.scene import MALLORY, MATE


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


ROOT, ALICE = key("network"), key("alice")
ANCHOR = Anchor(network_id_of(ROOT.peer_id), ROOT.peer_id)
ALICES = found(
    ANCHOR, Keys(ALICE, key("ann"), key("physics"), ROOT), Names("a", "ann", "p"), START_MS
)


def outsider(kind: str) -> AdmissionError:
    """What our door says to such a machine, by its real certificates."""
    door = TokenAdmission(ALICE, ALICES, ANCHOR, lambda: START_MS)
    token, now_ms, revoked = ALICES, START_MS, frozenset[str]()
    match kind:
        case "another network":
            root = key("elsewhere")
            anchor = Anchor(network_id_of(root.peer_id), root.peer_id)
            keys = Keys(ALICE, key("ann"), key("physics"), root)
            token = found(anchor, keys, Names("a", "ann", "p"), START_MS)
        case "expired":
            now_ms += 4000 * DAY_MS
        case _:
            revoked = frozenset({key("ann").peer_id})
    with pytest.raises(AdmissionError) as caught:
        _check(door, token, now_ms, revoked)
    return caught.value


def _check(
    door: TokenAdmission, token: MembershipToken, now_ms: int, revoked: frozenset[str]
) -> None:
    check_token(token, ALICE.peer_id, door.anchor, ALICE, Clocks(now_ms), revoked)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("another network", "network"), ("expired", "expired"), ("removed", "revoked")],
)
@simulated
async def test_a_machine_that_is_no_member_reaches_nobody(kind: str, code: str) -> None:
    said = outsider(kind)
    assert said.code == code

    def admit(caller: PeerId, callee: PeerId) -> None:
        if MALLORY in (caller, callee):
            raise said

    world = World(1, ["m0"], admit=admit)
    async with world.running(), trio.open_nursery() as nursery:
        victim = world["m0"].peer
        host = MemoryHost(world.network, MALLORY, MATE)
        host.learn(victim, [memory_address(victim)])
        rpc = Rpc(host)
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        frames = world.network.frames_delivered
        for request, reply in ((EchoRequest(), EchoReply), (NameRead(bytes(32)), NameHeld)):
            with pytest.raises(PeerUnreachableError):
                await rpc.call(
                    victim, request, reply, traffic_class=TrafficClass.NORMAL, timeout_s=5
                )
        rpc.cast(victim, Spread(News()))
        await trio.sleep(5)
        assert world.network.frames_delivered == frames
        nursery.cancel_scope.cancel()
