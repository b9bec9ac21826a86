"""Capabilities and addresses as text: base32, lower case, with a checksum against typing errors."""

import base64

from blake3 import blake3

from storage.errors import CapabilityError
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey

PREFIX = "swarm:"
ADDRESS_BYTES = KEY_BYTES = 32
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
    """`swarm:` and the text of address and key: whoever has it can read the object."""
    return PREFIX + _to_text(cap.address + cap.key)


def parse_cap(text: str) -> ReadCap:
    """Read a capability. CapabilityError says what is wrong with it."""
    stripped = text.strip()
    if not stripped.startswith(PREFIX):
        raise CapabilityError(f"a capability begins with {PREFIX}")
    body = _from_text(stripped[len(PREFIX) :], ADDRESS_BYTES + KEY_BYTES, "the capability")
    return ReadCap(Address(body[:ADDRESS_BYTES]), ObjectKey(body[ADDRESS_BYTES:]))


def text_of_address(address: Address) -> str:
    """The text of an address: it verifies and finds an object but cannot read it."""
    return _to_text(address)


def parse_address(text: str) -> Address:
    """Read an address. CapabilityError says what is wrong with it."""
    return Address(_from_text(text.strip(), ADDRESS_BYTES, "the address"))
