"""Who may join over real sockets, with real tokens, and what the refused are told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from p2p.errors import AdmissionError, DialError, PeerUnreachableError
from p2p.host.addresses import parse_address
from p2p.host.admission.exchange import OpenNetworkAdmission, TokenAdmission
from p2p.host.admission.port import Admission, AdmitStream, OpenAdmission
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.identity.admission import Anchor
from p2p.identity.caller import Caller
from p2p.identity.issue import DAY_MS, Keys, Names, found
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.records import MembershipToken
from p2p.ids import NetworkId, PeerId, TrafficClass
from tests.admission_lab import ALICE, ALICES, ANCHOR, BOB, BOBS, NOW, key

VALID_MS = 30 * DAY_MS

OTHER_ROOT = key("other network")
OTHER = Anchor(network_id_of(OTHER_ROOT.peer_id), OTHER_ROOT.peer_id)
STRAYS = found(OTHER, Keys(BOB, key("bo"), key("lab"), OTHER_ROOT), Names("b", "bo", "lab"), NOW)


@dataclass
class Listener:
    """Counts who is let in."""

    ups: list[PeerId] = field(default_factory=list)
    downs: list[PeerId] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    happened: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        self.frames.append(frame)
        self.happened.unpark_all()

    def on_up(self, caller: Caller) -> None:
        self.ups.append(caller.peer)

    def on_down(self, peer: PeerId, reason: str) -> None:
        self.downs.append(peer)


def admission(
    signer: KeySigner,
    token: MembershipToken,
    anchor: Anchor = ANCHOR,
    now_ms: Callable[[], int] = lambda: NOW,
) -> TokenAdmission:
    return TokenAdmission(signer, token, anchor, now_ms)


@asynccontextmanager
async def meeting(
    alices: Admission, bobs: Admission, bobs_network: NetworkId = ANCHOR.network
) -> AsyncIterator[tuple[Libp2pHost, Listener, Libp2pHost, Listener]]:
    """Alice, who listens and was here first, and Bob, who is to dial her."""
    listen = ["/ip4/127.0.0.1/tcp/0"]
    quick = HostConfig(admit_within_s=1.0)
    alice = Libp2pHost(ALICE.seed(), ANCHOR.network, listen, alices, quick)
    bob = Libp2pHost(BOB.seed(), bobs_network, listen, bobs)
    sees, hears = Listener(), Listener()
    alice.attach(sees)
    bob.attach(hears)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(alice.run)
            await nursery.start(bob.run)
            yield alice, sees, bob, hears
            nursery.cancel_scope.cancel()


async def test_a_token_of_the_network_lets_a_machine_in() -> None:
    alices, bobs = admission(ALICE, ALICES), admission(BOB, BOBS)
    async with meeting(alices, bobs) as (alice, sees, bob, hears):
        await bob.dial(alice.addresses()[0])
        await alice.send(BOB.peer_id, TrafficClass.NORMAL, b"welcome")
        while not hears.frames:
            await hears.happened.park()
        assert (sees.ups, hears.ups) == ([BOB.peer_id], [ALICE.peer_id])
        who = alices.book.admitted(BOB.peer_id)
        assert who is not None
        assert (who.name, who.lab_name) == ("beta", "physics")
        assert bobs.book.admitted(ALICE.peer_id) is not None


async def test_a_machine_without_an_invite_is_told_that_it_needs_one() -> None:
    self_made = OpenNetworkAdmission(BOB, ANCHOR, lambda: NOW, name="bob")
    async with meeting(admission(ALICE, ALICES), self_made) as (alice, sees, bob, hears):
        with pytest.raises(DialError, match="may not bring a lab into the network") as caught:
            await bob.dial(alice.addresses()[0])
        assert caught.value.cause == "token"
        assert sees.ups == hears.ups == []


@pytest.mark.parametrize("network", [ANCHOR.network, OTHER.network])
async def test_a_machine_of_another_network_is_told_so(network: NetworkId) -> None:
    strays = admission(BOB, STRAYS, OTHER)
    async with meeting(admission(ALICE, ALICES), strays, network) as (alice, sees, bob, hears):
        with pytest.raises(DialError, match="in another network") as caught:
            await bob.dial(alice.addresses()[0])
        assert caught.value.cause == "token"
        assert sees.ups == hears.ups == []


async def test_a_machine_whose_membership_has_ended_is_told_so() -> None:
    later = [NOW]
    alices = admission(ALICE, ALICES, now_ms=lambda: later[0])
    bobs = admission(BOB, BOBS, now_ms=lambda: later[0])
    later[0] = NOW + VALID_MS + DAY_MS
    async with meeting(alices, bobs) as (alice, sees, bob, hears):
        with pytest.raises(DialError, match=r"ended .* ago: get a new invite") as caught:
            await bob.dial(alice.addresses()[0])
        assert caught.value.cause == "token"
        assert sees.ups == hears.ups == []


async def test_a_machine_with_a_wrong_clock_is_told_to_set_it() -> None:
    alices = admission(ALICE, ALICES, now_ms=lambda: NOW + VALID_MS + DAY_MS)
    async with meeting(alices, admission(BOB, BOBS)) as (alice, sees, bob, hears):
        with pytest.raises(DialError, match="clocks differ") as caught:
            await bob.dial(alice.addresses()[0])
        assert caught.value.cause == "clock"
        assert sees.ups == hears.ups == []


async def test_a_machine_that_shows_nothing_is_never_up() -> None:
    async with meeting(admission(ALICE, ALICES), OpenAdmission()) as (alice, sees, bob, _):
        with pytest.raises(DialError, match=r"went away|no admission"):
            await bob.dial(alice.addresses()[0])
        assert sees.ups == []
        assert alice.peers() == ()


async def test_a_host_keeps_no_more_peers_than_it_may_whoever_judges() -> None:
    listen, few = ["/ip4/127.0.0.1/tcp/0"], HostConfig(peers_max=2)
    alice = Libp2pHost(ALICE.seed(), ANCHOR.network, listen, OpenAdmission(), few)
    sees = Listener()
    alice.attach(sees)
    others = [key(f"machine {number}") for number in range(8)]
    assert len({other.peer_id > ALICE.peer_id for other in others}) == 2, "of both kinds"
    failures: list[DialError] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(alice.run)
            for other in others:
                host = Libp2pHost(other.seed(), ANCHOR.network, [], OpenAdmission())
                host.attach(Listener())
                await nursery.start(host.run)
                try:
                    await host.dial(alice.addresses()[0])
                except DialError as error:
                    failures.append(error)
                assert len(alice.peers()) <= 2
            assert sees.ups == [other.peer_id for other in others[:2]]
            nursery.cancel_scope.cancel()
    assert {error.cause for error in failures} == {"peer"}


async def test_who_finds_a_full_host_is_told_so_whoever_judges() -> None:
    few = HostConfig(peers_max=0)
    for mine, other in ((ALICE, BOB), (BOB, ALICE)):
        tokens = {ALICE: ALICES, BOB: BOBS}
        full = Libp2pHost(
            mine.seed(),
            ANCHOR.network,
            ["/ip4/127.0.0.1/tcp/0"],
            admission(mine, tokens[mine]),
            few,
        )
        host = Libp2pHost(other.seed(), ANCHOR.network, [], admission(other, tokens[other]))
        sees = Listener()
        full.attach(sees)
        host.attach(sees)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(full.run)
                await nursery.start(host.run)
                with pytest.raises(DialError, match="as many connections as it can keep") as caught:
                    await host.dial(full.addresses()[0])
                nursery.cancel_scope.cancel()
        assert caught.value.cause == "peer"
        assert sees.ups == []


async def test_a_full_host_dials_nobody_and_says_that_it_is_full_itself() -> None:
    listen = ["/ip4/127.0.0.1/tcp/0"]
    bob = Libp2pHost(BOB.seed(), ANCHOR.network, listen, admission(BOB, BOBS))
    full = Libp2pHost(
        ALICE.seed(), ANCHOR.network, [], admission(ALICE, ALICES), HostConfig(peers_max=0)
    )
    bob.attach(Listener())
    full.attach(Listener())
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(bob.run)
            await nursery.start(full.run)
            with pytest.raises(DialError, match="this machine has as many") as caught:
                await full.dial(bob.addresses()[0])
            assert caught.value.cause == "full"
            full.learn(BOB.peer_id, bob.addresses())
            with pytest.raises(PeerUnreachableError, match=r"can keep \(full\)$"):
                await full.send(BOB.peer_id, TrafficClass.NORMAL, b"no pause is kept")
            assert not full.conns.here
            nursery.cancel_scope.cancel()


class ToldAdmission(TokenAdmission):
    """Keeps what it was refused for."""

    def __init__(self, signer: KeySigner, token: MembershipToken) -> None:
        super().__init__(signer, token, ANCHOR, lambda: NOW)
        self.refusals: list[AdmissionError] = []
        self.is_over = trio.Event()

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> Caller:
        try:
            return await super().admit(peer, stream, initiator)
        except AdmissionError as exc:
            self.refusals.append(exc)
            raise
        finally:
            self.is_over.set()


async def test_whom_a_host_dialled_is_told_that_it_has_become_full_meanwhile() -> None:
    low, high = sorted(((ALICE, ALICES), (BOB, BOBS)), key=lambda one: one[0].peer_id)
    listen = ["/ip4/127.0.0.1/tcp/0"]
    told = ToldAdmission(*high)
    judge = Libp2pHost(high[0].seed(), ANCHOR.network, listen, told)
    few = HostConfig(peers_max=0)
    full = Libp2pHost(low[0].seed(), ANCHOR.network, [], admission(*low), few)
    judge.attach(Listener())
    full.attach(Listener())
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(judge.run)
            await nursery.start(full.run)
            address = parse_address(judge.addresses()[0])
            conn = await full.conns.dial(judge.peer_id, [address])  # as one begun with a place
            assert conn.dial_error().cause == "full"
            await told.is_over.wait()
            nursery.cancel_scope.cancel()
    assert [refusal.code for refusal in told.refusals] == ["full"]


@pytest.mark.parametrize(("mine", "other"), [(ALICE, BOB), (BOB, ALICE)])
async def test_a_full_host_lets_a_peer_back_in_whose_former_connection_is_still_closing(
    mine: KeySigner, other: KeySigner
) -> None:
    listen, few = ["/ip4/127.0.0.1/tcp/0"], HostConfig(peers_max=1)
    full = Libp2pHost(mine.seed(), ANCHOR.network, listen, OpenAdmission(), few)
    sees = Listener()
    full.attach(sees)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(full.run)
            for _ in range(2):
                peer = Libp2pHost(other.seed(), ANCHOR.network, [], OpenAdmission())
                peer.attach(Listener())
                await nursery.start(peer.run)
                await peer.dial(full.addresses()[0])
                with trio.fail_after(5):
                    await trio.testing.wait_all_tasks_blocked(0.05)
                for conn in full.conns.here.values():
                    conn.joined = trio.Event()  # in no use any more, and not yet over
            nursery.cancel_scope.cancel()
    assert sees.ups == [other.peer_id] * 2
