"""Certificates: who may act for whom, as signed records, and the chain that proves a machine.

    network key -> lab -> people and machines of the lab
               \\        \\-> invite key -> person and machine who came with that invite
                \\-> invite key -> a lab that was invited in -> its people and machines

Each is a `Signed` envelope whose `domain` says which of the four it is, whose `sequence` is the
time it was issued and whose `expires_ms` ends it (wall clock, milliseconds since 1970).
"""

from collections.abc import Mapping
from typing import Final

from p2p.errors import WireError
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.limits import CERTIFICATE_BYTES_MAX, CERTIFICATES_MAX
from p2p.wire.codec import Record, StructT, decode_as, encode
from p2p.wire.envelope import Signed, Signer, seal

LAB_DOMAIN: Final = "swarm/lab"
INVITE_DOMAIN: Final = "swarm/invite"
PERSON_DOMAIN: Final = "swarm/member"
MACHINE_DOMAIN: Final = "swarm/machine"

TOKEN_BYTES_MAX: Final = CERTIFICATES_MAX * CERTIFICATE_BYTES_MAX


class LabCert(Record, frozen=True):
    """A lab belongs to the network. Signed by the network key or by an invite for a new lab."""

    lab: LabId
    name: str


class InviteCert(Record, frozen=True):
    """Whoever holds the invite key may enrol. Signed by lab, inviting person or network key.

    `expires_ms` of the envelope ends what the invite granted; `join_by_ms` ends the joining. How
    often an invite is used is counted in the register (`p2p.identity.register`).
    """

    invite: PeerId
    lab: LabId
    """The lab that is joined; empty when `new_lab`."""
    uses: int
    join_by_ms: int
    can_invite: bool = False
    """The person who joins may invite others."""
    new_lab: bool = False
    """The invite brings a lab of its own into the network; only the network key grants it."""
    owner: PersonId = PersonId("")
    """When set, the invite is for one more machine of this person."""


class PersonCert(Record, frozen=True):
    """A person belongs to a lab. Signed by the lab key or an invite key."""

    person: PersonId
    name: str
    lab: LabId
    can_invite: bool = False
    invited_by: PersonId = PersonId("")
    """In a renewed certificate: who invited them, and so may remove them."""
    invite: PeerId = PeerId("")
    """In a renewed certificate: the invite they came with."""
    invite_uses: int = 0
    """In a renewed certificate: how many that invite was for."""


class MachineCert(Record, frozen=True):
    """A machine belongs to a person and a lab. Signed by the lab key or an invite key."""

    peer: PeerId
    lab: LabId
    person: PersonId
    name: str
    site: str
    """Failure domain below the lab: machines that fail together; empty is the lab's only place."""
    roles: tuple[str, ...] = ()


CERTIFICATES: Final[Mapping[str, type[Record]]] = {
    LAB_DOMAIN: LabCert,
    INVITE_DOMAIN: InviteCert,
    PERSON_DOMAIN: PersonCert,
    MACHINE_DOMAIN: MachineCert,
}
_DOMAIN_OF: Final = {kind: domain for domain, kind in CERTIFICATES.items()}


class MembershipToken(Record, frozen=True):
    """What a machine shows: certificates in the order they build on one another, its own last."""

    certificates: tuple[Signed, ...]


def certify(
    signer: Signer, network: NetworkId, certificate: Record, *, issued_ms: int, expires_ms: int
) -> Signed:
    """Sign one of the four certificates."""
    domain = _DOMAIN_OF[type(certificate)]
    return seal(signer, network, domain, certificate, sequence=issued_ms, expires_ms=expires_ms)


def encode_token(token: MembershipToken) -> bytes:
    """The token as bytes, as sent and kept."""
    return encode(token)


def decode_token(data: bytes) -> MembershipToken:
    """Bytes back to a token; nothing is verified yet. Raises WireError."""
    return decode_canonical(MembershipToken, data, TOKEN_BYTES_MAX)


def decode_canonical(kind: type[StructT], data: bytes, bytes_max: int) -> StructT:
    """Decode a struct of which there is only one spelling: another one is a WireError."""
    value = decode_as(kind, data, bytes_max)
    if encode(value) != data:
        raise WireError(f"{kind.__name__} is not in its canonical form")
    return value
