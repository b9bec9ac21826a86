"""Value types of storage."""

from typing import Final, NewType

Address = NewType("Address", bytes)
"""BLAKE3 of a manifest's canonical bytes (32 bytes): names and verifies an object."""

ShardRoot = NewType("ShardRoot", bytes)
"""Merkle root of a shard's 16 KiB leaves (32 bytes)."""

ObjectKey = NewType("ObjectKey", bytes)
"""The 32-byte AEAD key of one object: with the address it is the capability to read.

In tables, of an object of one of several people of a machine: sealed for them.
"""

KEY_BYTES: Final = 32
"""Of an ObjectKey in clear."""

LeaseId = NewType("LeaseId", bytes)
"""16 random bytes naming all leases of one put: known before its address is."""

LeaseKey = NewType("LeaseKey", bytes)
"""Where a lease stands in this machine's tables: its id, and whose and what it is for."""
