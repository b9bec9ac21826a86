"""Two machines of a network, their tokens, and streams without any buffer between them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from p2p.errors import AdmissionError
from p2p.host.admission.exchange import TokenAdmission
from p2p.host.admission.messages import Hello
from p2p.identity.admission import Admitted, Anchor
from p2p.identity.issue import DAY_MS, Grant, Keys, Names, accept, found, proof_of
from p2p.identity.issue import invite as certify_invite
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.lineage import CertLink
from p2p.identity.records import MembershipToken, encode_token
from p2p.identity.register.register import remove
from p2p.ids import LabId, PeerId, PersonId
from p2p.wire.codec import Message, decode
from p2p.wire.envelope import WIRE_VERSION, Signed

NOW = 1_800_000_000_000


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


ROOT, ALICE, BOB = key("network"), key("alice"), key("bob")
ANCHOR = Anchor(network_id_of(ROOT.peer_id), ROOT.peer_id)
FOUNDER = Keys(ALICE, key("ann"), key("physics"), ROOT)
ALICES = found(ANCHOR, FOUNDER, Names("alpha", "ann", "physics"), NOW)
INVITED = certify_invite(ANCHOR, FOUNDER, ALICES, Grant(valid_ms=30 * DAY_MS), key("i"), NOW)
BOBS = accept(ANCHOR, INVITED, key("i"), Keys(BOB, key("bo")), Names("beta", "bo", ""), NOW)


@dataclass
class Pipe:
    """One end of a stream that holds nothing: a send waits for its receive."""

    out: trio.MemorySendChannel[bytes]
    into: trio.MemoryReceiveChannel[bytes]
    seen: list[bytes] = field(default_factory=list)

    async def send(self, frame: bytes) -> None:
        try:
            await self.out.send(frame)
        except trio.BrokenResourceError as exc:
            raise AdmissionError("malformed", "the link ended") from exc

    async def receive(self) -> bytes:
        try:
            frame = await self.into.receive()
        except trio.EndOfChannel as exc:
            raise AdmissionError("malformed", "the link ended") from exc
        self.seen.append(frame)
        return frame

    def close(self) -> None:
        self.out.close()
        self.into.close()


def pipes() -> tuple[Pipe, Pipe]:
    to_b, from_a = trio.open_memory_channel[bytes](0)
    to_a, from_b = trio.open_memory_channel[bytes](0)
    return Pipe(to_b, from_b), Pipe(to_a, from_a)


def admission(
    signer: KeySigner, token: MembershipToken, wall_ms: Callable[[], int] = lambda: NOW
) -> TokenAdmission:
    return TokenAdmission(signer, token, ANCHOR, wall_ms)


async def meet(
    dialler: TokenAdmission, dialled: TokenAdmission
) -> tuple[str | None, str | None, Pipe]:
    """Run the exchange; what each side ended with (None: admitted), and the dialler's end."""
    near, far = pipes()
    ends: list[str | None] = ["unfinished", "unfinished"]

    async def speak(side: int, me: TokenAdmission, peer: PeerId, pipe: Pipe) -> None:
        try:
            await me.admit(peer, pipe, side == 0)
            ends[side] = None
        except AdmissionError as exc:
            ends[side] = exc.code
        finally:
            pipe.close()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, 0, dialler, dialled.me.peer, near)
            nursery.start_soon(speak, 1, dialled, dialler.me.peer, far)
    return ends[0], ends[1], near


async def answer(
    me: TokenAdmission, peer: PeerId, *frames: bytes
) -> tuple[AdmissionError, list[Message]]:
    """Dial `me` as `peer` and send these frames; the error it ends with and what it said."""
    near, far = pipes()
    said: list[Message] = []
    caught: list[AdmissionError] = []

    async def dialled() -> None:
        try:
            await me.admit(peer, far, False)
        except AdmissionError as exc:
            caught.append(exc)
        far.close()

    async def listen() -> None:
        said.extend([decode(frame) async for frame in near.into])

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dialled)
            nursery.start_soon(listen)
            for frame in frames:
                await near.send(frame)
            near.out.close()
    assert caught, "admitted"
    return caught[0], said


def hello(token: MembershipToken = BOBS, wall_ms: int = NOW) -> Hello:
    return Hello(WIRE_VERSION, ANCHOR.network, wall_ms, encode_token(token))


def entry(number: int) -> Admitted:
    peer = PeerId(f"peer-{number:05}")
    lab, member = LabId("lab"), PersonId(f"member-{number}")
    lineage = (
        CertLink("swarm/member", member, "lab", "m"),
        CertLink("swarm/machine", peer, member, "n", member),
    )
    return Admitted(peer, lab, "lab", member, "m", "n", "", (), False, NOW, None, 0, lineage)


def removal(subject: str, name: str, at_ms: int = NOW) -> Signed:
    """By the lab's key, which alice's machine has."""
    link = CertLink("swarm/member", subject, "", name)
    assert FOUNDER.lab is not None
    proof = proof_of(FOUNDER.lab, ANCHOR, ALICES)
    return remove(FOUNDER.lab, ANCHOR.network, link, proof, at_ms)
