"""Capabilities and addresses as text: base32, lower case, with a checksum against typing errors.

swarm:ADDRESS+KEY        whoever has it can read the object
sealed:ADDRESS+BOX       as it rests for a person: only their key opens the box
"""

import base64

from blake3 import blake3

from storage.errors import CapabilityError
from storage.facade import ReadCap
from storage.ids import KEY_BYTES, Address, ObjectKey

PREFIX = "swarm:"
SEALED_PREFIX = "sealed:"
ADDRESS_BYTES = 32
SEALED_KEY_BYTES = 92
"""A key that was sealed for its person: never as long as one in clear (swarmnode.people.seals)."""
CHECKSUM_BYTES = 4


def _checksum(data: bytes) -> bytes:
    return blake3(b"swarm capability\0" + data).digest()[:CHECKSUM_BYTES]


def _to_text(data: bytes) -> str:
    return base64.b32encode(data + _checksum(data)).decode().rstrip("=").lower()


def _from_text(text: str, size: int, what: str) -> bytes:
    chars = -(-(size + CHECKSUM_BYTES) * 8 // 5)
    if len(text) != chars:
        raise CapabilityError(f"{what} has {len(text)} characters, not {chars}: copy it whole")
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        raise CapabilityError(f"{what} holds a character that is not a-z or 2-7") from None
    body = data[:size]
    if _to_text(body) != text.lower():
        raise CapabilityError(f"{what} fails its checksum: a character was mistyped")
    return body


def text_of_cap(cap: ReadCap) -> str:
    """`swarm:` and the text of address and key; `sealed:` where the key is sealed."""
    prefix = SEALED_PREFIX if is_sealed(cap) else PREFIX
    return prefix + _to_text(cap.address + cap.key)


def is_sealed(cap: ReadCap) -> bool:
    """Whether its key must be opened by a person's key first."""
    return len(cap.key) == SEALED_KEY_BYTES


def parse_cap(text: str) -> ReadCap:
    """Read a capability. CapabilityError says what is wrong with it."""
    stripped = text.strip()
    if not stripped.startswith(PREFIX):
        raise CapabilityError(f"a capability begins with {PREFIX}")
    return _read(stripped[len(PREFIX) :], KEY_BYTES, "the capability")


def parse_kept(text: str) -> ReadCap:
    """Read a capability as our tables have it: it may be sealed. Raises CapabilityError."""
    if not text.startswith(SEALED_PREFIX):
        return parse_cap(text)
    return _read(text[len(SEALED_PREFIX) :], SEALED_KEY_BYTES, "the sealed capability")


def _read(text: str, key_bytes: int, what: str) -> ReadCap:
    body = _from_text(text, ADDRESS_BYTES + key_bytes, what)
    return ReadCap(Address(body[:ADDRESS_BYTES]), ObjectKey(body[ADDRESS_BYTES:]))


def text_of_address(address: Address) -> str:
    """The text of an address: it verifies and finds an object but cannot read it."""
    return _to_text(address)


def parse_address(text: str) -> Address:
    """Read an address. CapabilityError says what is wrong with it."""
    return Address(_from_text(text.strip(), ADDRESS_BYTES, "the address"))
