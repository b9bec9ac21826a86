"""Signed records: who said what, in which network, until when.

What is signed is `domain NUL canonical MessagePack of Signed without its signature`, so that a
signature made for one purpose or network never verifies for another.
"""

from typing import Protocol, TypeVar

from p2p.errors import WireError
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Record, decode_as, encode

WIRE_VERSION = 1
SIGNATURE_BYTES = 64
RecordT = TypeVar("RecordT", bound=Record)


class Signer(Protocol):
    """Signs for this machine and checks any peer: Ed25519 on a node, a keyed hash in big sims."""

    @property
    def peer_id(self) -> PeerId: ...

    def sign(self, data: bytes) -> bytes: ...

    def verifies(self, peer: PeerId, data: bytes, signature: bytes) -> bool: ...

    def from_seed(self, seed: bytes) -> "Signer":
        """Another key of the same kind, made of 32 secret bytes: of a task, or a person."""
        ...


class Signed(Record, frozen=True):
    """A payload with its sender's signature. `sequence` orders the sender's records (or fences)."""

    version: int
    network: NetworkId
    domain: str
    sender: PeerId
    sequence: int
    expires_ms: int
    payload: bytes
    signature: bytes = b""


def _signed_bytes(record: Signed) -> bytes:
    bare = Signed(
        record.version,
        record.network,
        record.domain,
        record.sender,
        record.sequence,
        record.expires_ms,
        record.payload,
    )
    return record.domain.encode() + b"\0" + encode(bare)


def seal(
    signer: Signer,
    network: NetworkId,
    domain: str,
    record: Record,
    *,
    sequence: int,
    expires_ms: int,
) -> Signed:
    """Sign `record` for `domain`; `expires_ms` is wall-clock milliseconds since 1970."""
    fields = (WIRE_VERSION, network, domain, signer.peer_id, sequence, expires_ms, encode(record))
    return Signed(*fields, signer.sign(_signed_bytes(Signed(*fields))))


def open_signed(
    signer: Signer, network: NetworkId, domain: str, kind: type[RecordT], sealed: Signed
) -> RecordT:
    """Check signature, domain, network and version, and decode the payload.

    Raises WireError. Expiry is the caller's to judge: it knows the clock it trusts.
    """
    if (sealed.version, sealed.network, sealed.domain) != (WIRE_VERSION, network, domain):
        raise WireError(f"record is for {sealed.domain} v{sealed.version} of {sealed.network}")
    if not signer.verifies(sealed.sender, _signed_bytes(sealed), sealed.signature):
        raise WireError(f"signature of {sealed.sender} on a {domain} record is wrong")
    return decode_as(kind, sealed.payload)
