"""An invite as one string: `swarm1` and the base32 of length, content and checksum.

    length (2 bytes, big-endian) | content: canonical MessagePack of Invite | BLAKE3(content)[:4]

Base32, because each character stands for itself: a string cut short still shows its length. It
holds a secret (the seed of the invite key): whoever reads it may join.
"""

import base64
import re
from collections.abc import Iterable
from typing import Final

from blake3 import blake3

from p2p.errors import IdentityError, InviteError, WireError
from p2p.identity.admission import Anchor
from p2p.identity.keys import SEED_BYTES, network_id_of, public_key_of
from p2p.identity.records import INVITE_DOMAIN, InviteCert, decode_canonical
from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS, INVITE_ADDRESSES_MAX, INVITE_CHARS_MAX
from p2p.wire.codec import Record, decode_as, encode
from p2p.wire.envelope import Signed

INVITE_PREFIX: Final = "swarm1"
_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_LENGTH_BYTES: Final = 2
_CHECKSUM_BYTES: Final = 4
_PATH: Final = re.compile(
    r"/(ip4|ip6|dns|dns4|dns6)/[0-9A-Za-z.:_-]{1,253}/tcp/[0-9]{1,5}(/ws|/wss)?"
)


class Contact(Record, frozen=True):
    """A machine of the network and where it listens."""

    peer: PeerId
    paths: tuple[str, ...]


class Invite(Record, frozen=True):
    """What a newcomer needs: whom to trust, where to call, and a key to sign its papers with."""

    root: PeerId
    """The network key; the network's id is its hash."""
    contacts: tuple[Contact, ...]
    is_open: bool = False
    """In an open network a lab may certify itself: no invite key is needed."""
    certificates: tuple[Signed, ...] = ()
    seed: bytes = b""
    """Of the invite key, which the last certificate is for."""

    @property
    def anchor(self) -> Anchor:
        """The network this is an invite to."""
        return Anchor(network_id_of(self.root), self.root, self.is_open)

    def addresses(self) -> tuple[str, ...]:
        """Full multiaddrs of the contacts."""
        return tuple(
            f"{path}/p2p/{contact.peer}" for contact in self.contacts for path in contact.paths
        )

    def grant(self) -> InviteCert | None:
        """What is granted, as the invite says (not verified here); None without an invite key."""
        if not self.certificates:
            return None
        return decode_as(InviteCert, self.certificates[-1].payload)


def contacts_of(addresses: Iterable[str]) -> tuple[Contact, ...]:
    """Group full multiaddrs by machine, at most INVITE_ADDRESSES_MAX, in the order given.

    Raises IdentityError for an address nobody could dial.
    """
    paths: dict[PeerId, list[str]] = {}
    for address in dict.fromkeys(list(addresses)[:INVITE_ADDRESSES_MAX]):
        path, peer = split_address(address)
        paths.setdefault(peer, []).append(path)
    return tuple(Contact(peer, tuple(own_paths)) for peer, own_paths in paths.items())


def split_address(address: str) -> tuple[str, PeerId]:
    """`/ip4/192.0.2.1/tcp/4850/p2p/12D3...` to path and peer id. Raises IdentityError."""
    path, separator, peer = address.rpartition("/p2p/")
    if not separator or not _PATH.fullmatch(path) or not 0 < int(path.split("/")[4]) <= 65535:
        raise IdentityError(
            f"address {address!r} must look like /ip4/192.0.2.1/tcp/4850/p2p/<peer id>"
        )
    public_key_of(peer)
    return path, PeerId(peer)


def encode_invite(invite: Invite) -> str:
    """The invite as one string. Raises IdentityError if it is too long to be accepted."""
    text = _wrap(encode(invite))
    if len(text) > INVITE_CHARS_MAX:
        raise IdentityError(f"the invite would have {len(text)} characters: give fewer addresses")
    return text


def decode_invite(text: str, now_ms: int) -> Invite:
    """The string back to an invite that is whole and not late (milliseconds since 1970).

    Blanks and line breaks from copying are ignored. Raises InviteError, naming the damaged part.
    """
    content = _unwrap("".join(text.split()))
    try:
        invite = decode_canonical(Invite, content, INVITE_CHARS_MAX)
        _check_content(invite)
        grant = invite.grant()
    except (WireError, IdentityError) as exc:
        raise InviteError(
            "content", f"the invite makes no sense ({exc}): ask for a new one"
        ) from exc
    _check_time(grant, now_ms)
    return invite


def _check_time(grant: InviteCert | None, now_ms: int) -> None:
    if grant is not None and now_ms > grant.join_by_ms + CLOCK_SKEW_MAX_MS:
        late_s = (now_ms - grant.join_by_ms) // 1000
        raise InviteError(
            "expired",
            f"the invite expired {_span(late_s)} ago, if this machine's clock is right: "
            "ask for a new one, or set the clock",
        )


def _check_content(invite: Invite) -> None:
    public_key_of(invite.root)
    addresses = invite.addresses()
    for address in addresses:
        split_address(address)
    if len(addresses) > INVITE_ADDRESSES_MAX:
        raise WireError(f"it names {len(addresses)} addresses")
    if bool(invite.seed) != bool(invite.certificates) or not (invite.seed or invite.is_open):
        raise WireError("it lacks its key or its certificates")
    if invite.seed and len(invite.seed) != SEED_BYTES:
        raise WireError("its key has the wrong length")
    if invite.certificates and invite.certificates[-1].domain != INVITE_DOMAIN:
        raise WireError("it ends in no invite certificate")


def _wrap(content: bytes) -> str:
    checksum = blake3(content).digest(_CHECKSUM_BYTES)
    whole = len(content).to_bytes(_LENGTH_BYTES) + content + checksum
    return INVITE_PREFIX + base64.b32encode(whole).decode().rstrip("=").lower()


def _unwrap(text: str) -> bytes:
    """The checked content. Raises InviteError for format, truncated or checksum."""
    _check_characters(text)
    data = _from_base32(text[len(INVITE_PREFIX) :])
    _check_whole(text, data)
    content = data[_LENGTH_BYTES:-_CHECKSUM_BYTES]
    if _wrap(content) != text:
        raise InviteError(
            "checksum", "the invite's checksum is wrong, so is some character: copy it again"
        )
    return content


def _check_characters(text: str) -> None:
    if not text.startswith(INVITE_PREFIX):
        raise InviteError("format", f"an invite begins with {INVITE_PREFIX}: copy all of it")
    if len(text) > INVITE_CHARS_MAX:
        raise InviteError("format", f"an invite has at most {INVITE_CHARS_MAX} characters")
    body = text[len(INVITE_PREFIX) :]
    strange = next((at for at, char in enumerate(body) if char not in _ALPHABET), None)
    if strange is not None:
        at = len(INVITE_PREFIX) + strange + 1
        raise InviteError(
            "format",
            f"character {at} of the invite, {body[strange]!r}, cannot be in one: copy it again",
        )


def _check_whole(text: str, data: bytes) -> None:
    """As long as `data`, which was read from it, says that it is."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES]) + _CHECKSUM_BYTES
    chars = len(INVITE_PREFIX) + (end * 8 + 4) // 5
    if len(data) < _LENGTH_BYTES or len(data) < end:
        raise InviteError(
            "truncated",
            f"the invite is truncated, {len(text)} of {chars} characters: copy all of it",
        )
    if len(text) != chars:
        raise InviteError("format", "something else was copied behind the invite: copy it again")


def _from_base32(body: str) -> bytes:
    """Whole bytes of base32 text; what is left over of a last byte is dropped."""
    whole_chars = len(body) - {1: 1, 3: 1, 6: 1}.get(len(body) % 8, 0)
    body = body[:whole_chars].upper()
    return base64.b32decode(body + "=" * (-len(body) % 8))


def _span(seconds: int) -> str:
    """A duration for people."""
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
