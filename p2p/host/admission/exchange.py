"""Admission of peers by token: the exchange of `messages`.

Refusing costs a stranger a handshake and us a dictionary look-up: a token bucket per peer stands
before any signature is checked.
"""

import contextlib
from collections.abc import Callable, Collection
from functools import partial
from typing import Final, NoReturn

import trio
from msgspec.structs import replace

from p2p.buckets import Buckets
from p2p.errors import AdmissionError, WireError
from p2p.host.admission.book import AdmissionBook, nobody_revoked
from p2p.host.admission.frames import ask_removals, decoded, receive, refused, tell_removals
from p2p.host.admission.messages import Hello, Refusal, Welcome
from p2p.host.admission.port import AdmitStream
from p2p.identity.admission import Admitted, Anchor, Clocks, check_token
from p2p.identity.caller import Caller, caller_of
from p2p.identity.records import (
    LabCert,
    MachineCert,
    MembershipToken,
    PersonCert,
    certify,
    decode_token,
    encode_token,
)
from p2p.identity.register.register import Register, witness
from p2p.identity.register.uses import certificate_of, uses_in
from p2p.ids import LabId, PeerId, PersonId
from p2p.limits import (
    ADMISSION_TRIES_BURST,
    ADMISSION_TRIES_PER_S,
    ADMITTED_MAX,
    REFUSAL_CHARS_MAX,
)
from p2p.wire.codec import encode
from p2p.wire.envelope import WIRE_VERSION, Signer

HEARD_S: Final = 60.0
"""By then a node that has just started has compared its register with several peers."""

_VALID_MS: Final = 3650 * 86_400_000  # ten years, for what a machine certifies about itself


class TokenAdmission:
    """Admits machines whose token leads to our network's key (`admit_port.Admission`)."""

    def __init__(
        self,
        signer: Signer,
        token: MembershipToken,
        anchor: Anchor,
        wall_ms: Callable[[], int],
        *,
        revoked: Callable[[], Collection[str]] = nobody_revoked,
    ) -> None:
        """Raises AdmissionError when our own token is no good: peers would refuse it too."""
        self.signer, self.anchor, self.wall_ms = signer, anchor, wall_ms
        self._buckets = Buckets(ADMISSION_TRIES_BURST, ADMISSION_TRIES_PER_S, ADMITTED_MAX)
        self._began_s: float | None = None
        self.book = AdmissionBook(Register(anchor, signer), revoked)
        self.adopt(token)

    def adopt(self, token: MembershipToken) -> None:
        """Show this token from now on. Raises AdmissionError when it is no good."""
        clocks = Clocks(self.wall_ms())
        self.me = check_token(token, self.signer.peer_id, self.anchor, self.signer, clocks)
        self.token = token
        self.book.enter(self.me)

    def our_caller(self, own: PeerId) -> Caller:
        """Who our calls to ourselves come from."""
        return caller_of(self.me, is_me=True)

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> Caller:
        """Show our token, check the peer's, and enter it in the book.

        Raises AdmissionError with the same code on both ends when either refuses.
        """
        self.book.clock_ms = self._clock_ms  # from here on, as there is a loop with a clock
        meet = self._meet_first if initiator else self._meet_second
        who = await meet(peer, stream)
        self.book.enter(who)
        return caller_of(who)

    async def _meet_first(self, peer: PeerId, stream: AdmitStream) -> Admitted:
        ours = self._hello()
        await stream.send(encode(ours))
        theirs, who = await self._check(peer, stream, await receive(stream))
        await self._catch_up(who, stream, (ours, theirs), is_first=True)
        await stream.send(encode(Welcome()))
        if self._has_heard():
            self._witness(who, theirs)
        return who

    async def _meet_second(self, peer: PeerId, stream: AdmitStream) -> Admitted:
        ours = self._hello()
        theirs, who = await self._check(peer, stream, await receive(stream))
        await stream.send(encode(ours))
        await self._catch_up(who, stream, (ours, theirs), is_first=False)
        await self._expect_welcome(peer, stream)
        self._witness(who, theirs)
        return who

    def _clock_ms(self) -> int:
        return self.wall_ms() - round(trio.current_time() * 1000)

    def _hello(self) -> Hello:
        digest = self.book.register.removals.digest()
        token = encode_token(self.token)
        return Hello(WIRE_VERSION, self.anchor.network, self.wall_ms(), token, digest)

    async def _catch_up(
        self, who: Admitted, stream: AdmitStream, hellos: tuple[Hello, Hello], *, is_first: bool
    ) -> None:
        """Exchange removals, and look again whether the peer is one of them."""
        ours, theirs = hellos
        if not theirs.removals or ours.removals == theirs.removals:
            return
        register = self.book.register
        exchange = ask_removals if is_first else tell_removals
        await exchange(register, stream, self.wall_ms)
        why = register.why_out(who)
        if why is None:
            return
        if is_first:
            await self._refuse(stream, why)
        raise why  # the peer speaks next: it learns why when the connection ends

    async def _refuse(self, stream: AdmitStream, why: AdmissionError) -> NoReturn:
        with contextlib.suppress(AdmissionError):  # a peer that has gone needs no reason
            await stream.send(encode(Refusal(why.code, why.detail[:REFUSAL_CHARS_MAX])))
        raise why

    def _has_heard(self) -> bool:
        """Whether we have run long enough to know the uses of invites that others know.

        A newcomer that dials the old members would else witness all of them anew.
        """
        now_s = trio.current_time()
        self._began_s = now_s if self._began_s is None else self._began_s
        return now_s - self._began_s > HEARD_S

    def _witness(self, who: Admitted, hello: Hello) -> None:
        """Tell everybody with which invite a newcomer came, if we are the first to know."""
        register, now_ms = self.book.register, self.wall_ms()
        others = (peer for peer in self.book.everybody() if peer not in (who.peer, self.me.peer))
        if self.book.would_misdate(others):
            return  # the order of uses is told by clocks: somebody with a right one is a witness
        certificates, network = decode_token(hello.token).certificates, self.anchor.network
        for use in uses_in(who):
            certificate = certificate_of(use, certificates)
            if certificate is not None and register.uses.of(use) is None:
                sealed = witness(self.signer, network, self.token, certificate, now_ms)
                register.take(sealed, now_ms)

    async def _check(
        self, peer: PeerId, stream: AdmitStream, frame: bytes
    ) -> tuple[Hello, Admitted]:
        """The peer's Hello, verified; whatever is wrong with it is told to the peer."""
        try:
            if not self._buckets.take(peer, 1, trio.current_time()):
                raise AdmissionError("busy", "too many attempts: wait a few seconds")
            said = decoded(frame)
            if isinstance(said, Hello):
                return said, self._verified(peer, said)
            if not isinstance(said, Refusal):
                raise AdmissionError("malformed", f"{type(said).__name__} instead of Hello")
        except AdmissionError as exc:
            await self._refuse(stream, exc)
        refused(peer, said)

    def _verified(self, peer: PeerId, hello: Hello) -> Admitted:
        token = self._token_in(hello)
        clocks = Clocks(self.wall_ms(), hello.wall_ms)
        revoked = self.book.revoked()
        who = check_token(token, peer, self.anchor, self.signer, clocks, revoked)
        why = self.book.register.why_out(who)
        if why is not None:
            raise why
        return who

    def _token_in(self, hello: Hello) -> MembershipToken:
        if hello.version != WIRE_VERSION:
            raise AdmissionError(
                "version", f"wire versions differ, {hello.version} and {WIRE_VERSION}: upgrade"
            )
        if hello.network != self.anchor.network:
            raise AdmissionError("network", "this machine is in another network")
        try:
            return decode_token(hello.token)
        except WireError as exc:
            raise AdmissionError("malformed", str(exc)) from exc

    async def _expect_welcome(self, peer: PeerId, stream: AdmitStream) -> None:
        match decoded(await receive(stream)):
            case Welcome():
                return
            case Refusal() as refusal:
                refused(peer, refusal)
            case other:
                raise AdmissionError("malformed", f"{type(other).__name__} instead of Welcome")


class OpenNetworkAdmission(TokenAdmission):
    """For open networks: a machine is its own lab and person and certifies itself."""

    def __init__(
        self,
        signer: Signer,
        anchor: Anchor,
        wall_ms: Callable[[], int],
        *,
        name: str,
        site: str = "",
        roles: tuple[str, ...] = (),
        revoked: Callable[[], Collection[str]] = nobody_revoked,
    ) -> None:
        token = self_certified(signer, anchor, wall_ms(), name=name, site=site, roles=roles)
        super().__init__(signer, token, replace(anchor, is_open=True), wall_ms, revoked=revoked)


def self_certified(
    signer: Signer, anchor: Anchor, now_ms: int, *, name: str, site: str, roles: tuple[str, ...]
) -> MembershipToken:
    """A token by which one key is lab, person and machine; only an open network accepts it."""
    peer = signer.peer_id
    lab, person = LabId(peer), PersonId(peer)
    records = (
        LabCert(lab, name),
        PersonCert(person, name, lab, can_invite=True),
        MachineCert(peer, lab, person, name, site, roles),
    )
    ends_ms = now_ms + _VALID_MS
    sign = partial(certify, signer, anchor.network, issued_ms=now_ms, expires_ms=ends_ms)
    return MembershipToken(tuple(sign(record) for record in records))
