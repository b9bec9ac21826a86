"""Every error the storage package raises, and what the caller should do about it."""

from typing import Final

from p2p.ids import PeerId

TABLES_REMEDY: Final = (
    "restore it from a backup, or move it away to start anew (store.lmdb together with segments)"
)
"""What helps against damaged tables."""


class StorageError(Exception):
    """Base of all errors in this package."""


class StoreFullError(StorageError):
    """No room on this disk or in this quota: nothing was written. Free space or raise the quota."""


class StoreFailedError(StorageError):
    """A commit failed: what is on disk is uncertain. Fatal for the store; restart the node."""


class RecordCorruptError(StoreFailedError):
    """A record of the tables is not what was written: restore it, or delete it and start anew."""

    def __init__(self, table: str, key: bytes, where: str = "") -> None:
        """`where` is the folder of the tables."""
        place = f" in {where}" if where else ""
        super().__init__(
            f"record {key.hex()[:32]} of table {table}{place} fails its hash: {TABLES_REMEDY}"
        )
        self.table, self.key = table, key


class ShardMissingError(StorageError):
    """The shard is not here: ask another holder."""


class ShardCorruptError(StorageError):
    """The bytes do not match their hash: drop the copy and ask for a repair."""

    def __init__(self, root: bytes, holder: PeerId | None = None) -> None:
        where = f"from {holder} " if holder else "in this machine's segments "
        super().__init__(
            f"shard {root.hex()[:16]} {where}fails its hash: a repair replaces it from other "
            "machines; if more do, look at the disk"
        )
        self.root, self.holder = root, holder


class ManifestError(StorageError):
    """The bytes are not a manifest, or not the one asked for."""


class ObjectUnknownError(StorageError):
    """No peer we can reach holds a manifest of that address: check it or wait for its holders."""


class ObjectRemovedError(ObjectUnknownError):
    """Nobody has a manifest of that address, and somebody was told that it was removed."""


class ObjectDegradedError(StorageError):
    """Fewer than k shards of a segment can be had now: try again when more holders are back."""


class TooFewPeersError(StorageError):
    """The pool is too small, or too much of it is away, for what was asked."""

    def __init__(self, have: int, need: int, remedy: str) -> None:
        peers = "1 usable peer" if have == 1 else f"{have} usable peers"
        super().__init__(f"{peers}, {need} needed: {remedy}")
        self.have, self.need = have, need


class PoolUnknownError(StorageError):
    """This node has just started and does not know its pool yet: try again in a moment."""

    def __init__(self, unheard: int) -> None:
        who = f"{unheard} machines that lend storage have" if unheard > 1 else "a machine has"
        if not unheard:
            who = "no other member has"
        super().__init__(
            f"{who} not been heard of since this node started: try again when they are back, "
            "or put with durability `local`"
        )
        self.unheard = unheard


class NameConflictError(StorageError):
    """Another write came first: read the value again and decide."""

    def __init__(self, name: str, sequence: int, value: bytes) -> None:
        super().__init__(f"{name} is at sequence {sequence}, not where this write expected it")
        self.name, self.sequence, self.value = name, sequence, value


class StaleFenceError(StorageError):
    """A newer attempt owns the name: this writer must stop."""


class CapabilityError(StorageError):
    """The text is not a capability or address: copy it again, whole."""


class HolderFailedError(StorageError):
    """One machine could not be used as a holder: take the next one.

    `code` is what it said (full, missing, not-lending, busy, ...), or unreachable, timeout, lied.
    """

    def __init__(self, holder: PeerId, code: str, detail: str) -> None:
        said = "failed" if code in ("unreachable", "timeout", "lied") else "refused"
        super().__init__(f"holder {holder} {said}: {detail} ({code})")
        self.holder, self.code, self.detail = holder, code, detail


PUT_LATER: Final = (TooFewPeersError, PoolUnknownError, StoreFullError)
"""What a put raises when the same one may do better after a while."""
