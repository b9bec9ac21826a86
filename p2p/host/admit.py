"""Admission of peers by token: the exchange of `admit_messages`, and the book of who is who.

Refusing costs a stranger a handshake and us a dictionary look-up: a token bucket per peer stands
before any signature is checked.
"""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

import trio

from p2p.errors import AdmissionError, WireError
from p2p.host.admit_messages import Hello, Refusal, Welcome
from p2p.host.admit_port import AdmitStream
from p2p.identity.admission import Admitted, Anchor, Clocks, UsedInvite, check_token
from p2p.identity.caller import Caller, caller_of
from p2p.identity.records import (
    LabCert,
    MachineCert,
    MemberCert,
    MembershipToken,
    certify,
    decode_token,
    encode_token,
)
from p2p.ids import LabId, MemberId, PeerId
from p2p.limits import (
    ADMISSION_TRIES_BURST,
    ADMISSION_TRIES_PER_S,
    ADMIT_FRAME_BYTES_MAX,
    ADMITTED_MAX,
    CLOCK_SKEW_MAX_MS,
    REFUSAL_CHARS_MAX,
)
from p2p.wire.codec import Message, decode, encode
from p2p.wire.envelope import WIRE_VERSION, Signer

_VALID_MS: Final = 3650 * 86_400_000  # ten years, for what a machine certifies about itself


def nobody_revoked() -> Collection[str]:
    """No id is revoked."""
    return ()


@dataclass(slots=True)
class AdmissionBook:
    """Who the peers are that were admitted, newest last, bounded."""

    _admitted: dict[PeerId, Admitted] = field(default_factory=dict)
    _used: dict[PeerId, dict[str, UsedInvite]] = field(default_factory=dict)

    def admitted(self, peer: PeerId) -> Admitted | None:
        """Who the peer proved to be when it was last admitted, or None."""
        return self._admitted.get(peer)

    def enter(self, who: Admitted) -> None:
        """Remember an admitted peer; the one admitted longest ago is forgotten when full."""
        self._admitted.pop(who.peer, None)
        self._admitted[who.peer] = who
        if len(self._admitted) > ADMITTED_MAX:
            del self._admitted[next(iter(self._admitted))]
        if who.came_with is not None:
            self._note_use(who.came_with)

    def lapsed(self, now_ms: int, revoked: Collection[str] = ()) -> tuple[PeerId, ...]:
        """Peers that would be refused today: certificates ended, or revoked since."""
        return tuple(
            sorted(
                who.peer
                for who in self._admitted.values()
                if now_ms > who.expires_ms + CLOCK_SKEW_MAX_MS
                or any(one in revoked for one in _ids_of(who))
            )
        )

    def overused(self) -> tuple[PeerId, ...]:
        """Invites seen in use by more machines, people or labs than they were meant for.

        Somebody passed the string on: revoke the invite's id.
        """
        return tuple(
            sorted(
                invite
                for invite, users in self._used.items()
                if len(users) > min(use.uses for use in users.values())
            )
        )

    def _note_use(self, use: UsedInvite) -> None:
        users = self._used.setdefault(use.invite, {})
        if len(users) <= use.uses:  # one more than allowed proves it; further ones add nothing
            users[use.user] = use
        if len(self._used) > ADMITTED_MAX:
            del self._used[next(iter(self._used))]


@dataclass(slots=True)
class _Buckets:
    """How often each peer may still ask: full at first, refilled as time goes by."""

    _left: dict[PeerId, tuple[float, float]] = field(default_factory=dict)

    def take(self, peer: PeerId, now_s: float) -> bool:
        """Use one try of the peer's; False when it has none."""
        tries, since_s = self._left.pop(peer, (float(ADMISSION_TRIES_BURST), now_s))
        tries += (now_s - since_s) * ADMISSION_TRIES_PER_S
        tries = min(tries, float(ADMISSION_TRIES_BURST))
        allowed = tries >= 1.0
        self._left[peer] = (tries - 1.0 if allowed else tries, now_s)
        if len(self._left) > ADMITTED_MAX:
            del self._left[next(iter(self._left))]
        return allowed


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
        book: AdmissionBook | None = None,
    ) -> None:
        """Raises AdmissionError when our own token is no good: peers would refuse it too."""
        self._signer, self._anchor = signer, anchor
        self._wall_ms, self._revoked = wall_ms, revoked
        self._token = encode_token(token)
        self._buckets = _Buckets()
        self.book = AdmissionBook() if book is None else book
        self.me: Final = check_token(token, signer.peer_id, anchor, signer, Clocks(wall_ms()))
        self.book.enter(self.me)

    def our_caller(self, own: PeerId) -> Caller:
        """Who our calls to ourselves come from."""
        return caller_of(self.me, is_me=True)

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> Caller:
        """Show our token, check the peer's, and enter it in the book.

        Raises AdmissionError with the same code on both ends when either refuses.
        """
        if initiator:
            await stream.send(encode(self._hello()))
            who = await self._check(peer, stream, await _receive(stream))
            await stream.send(encode(Welcome()))
        else:
            who = await self._check(peer, stream, await _receive(stream))
            await stream.send(encode(self._hello()))
            await self._expect_welcome(peer, stream)
        self.book.enter(who)
        return caller_of(who)

    def _hello(self) -> Hello:
        return Hello(WIRE_VERSION, self._anchor.network, self._wall_ms(), self._token)

    async def _check(self, peer: PeerId, stream: AdmitStream, frame: bytes) -> Admitted:
        """The peer's Hello, verified; whatever is wrong with it is told to the peer."""
        try:
            if not self._buckets.take(peer, trio.current_time()):
                raise AdmissionError("busy", "too many attempts: wait a few seconds")
            match _decoded(frame):
                case Hello() as hello:
                    return self._verified(peer, hello)
                case Refusal() as refusal:
                    said = refusal
                case other:
                    raise AdmissionError("malformed", f"{type(other).__name__} instead of Hello")
        except AdmissionError as exc:
            with contextlib.suppress(AdmissionError):  # a peer that has gone needs no reason
                await stream.send(encode(Refusal(exc.code, exc.detail[:REFUSAL_CHARS_MAX])))
            raise
        _refused(peer, said)

    def _verified(self, peer: PeerId, hello: Hello) -> Admitted:
        if hello.version != WIRE_VERSION:
            raise AdmissionError(
                "version", f"wire versions differ, {hello.version} and {WIRE_VERSION}: upgrade"
            )
        if hello.network != self._anchor.network:
            raise AdmissionError("network", "this machine is in another network")
        try:
            token = decode_token(hello.token)
        except WireError as exc:
            raise AdmissionError("malformed", str(exc)) from exc
        clocks = Clocks(self._wall_ms(), hello.wall_ms)
        return check_token(token, peer, self._anchor, self._signer, clocks, self._revoked())

    async def _expect_welcome(self, peer: PeerId, stream: AdmitStream) -> None:
        match _decoded(await _receive(stream)):
            case Welcome():
                return
            case Refusal() as refusal:
                _refused(peer, refusal)
            case other:
                raise AdmissionError("malformed", f"{type(other).__name__} instead of Welcome")


class OpenNetworkAdmission(TokenAdmission):
    """For open networks: a machine is its own lab and member and certifies itself."""

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
    """A token by which one key is lab, member and machine; only an open network accepts it."""
    peer = signer.peer_id
    lab, member = LabId(peer), MemberId(peer)
    records = (
        LabCert(lab, name),
        MemberCert(member, name, lab, can_invite=True),
        MachineCert(peer, lab, member, name, site, roles),
    )
    return MembershipToken(
        tuple(
            certify(signer, anchor.network, record, issued_ms=now_ms, expires_ms=now_ms + _VALID_MS)
            for record in records
        )
    )


def _ids_of(who: Admitted) -> tuple[str, ...]:
    invite = () if who.came_with is None else (who.came_with.invite,)
    return (who.peer, who.member, who.lab, *invite)


async def _receive(stream: AdmitStream) -> bytes:
    try:
        return await stream.receive()
    except WireError as exc:
        raise AdmissionError("malformed", str(exc)) from exc


def _decoded(frame: bytes) -> Message:
    try:
        return decode(frame, ADMIT_FRAME_BYTES_MAX)
    except WireError as exc:
        raise AdmissionError("malformed", str(exc)) from exc


def _refused(peer: PeerId, refusal: Refusal) -> NoReturn:
    """Say that the peer refused us; its words are shown to people, so they are made harmless."""
    code = refusal.code if refusal.code.isascii() and refusal.code.isalpha() else "malformed"
    detail = "".join(c for c in refusal.detail[:REFUSAL_CHARS_MAX] if c.isprintable())
    raise AdmissionError(code[:16], f"{peer} refused us: {detail}")
