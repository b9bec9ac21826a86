"""A Merkle tree over 16 KiB leaves: any range of a shard verifies without the rest.

BLAKE3 with a key of its own for leaves, inner nodes and the root, which binds the length, so that
no node can stand for another (cf. RFC 6962 section 2.1 for the separation). A key keeps the leaf
aligned to BLAKE3's chunks, where a prefix would cost 40 % more. An odd node moves up as it is.
"""

from blake3 import blake3

from storage.ids import ShardRoot
from storage.limits import LEAF_BYTES

_LEAF = b"swarm merkle leaf".ljust(32, b"\0")
_NODE = b"swarm merkle node".ljust(32, b"\0")
_ROOT = b"swarm merkle root".ljust(32, b"\0")
HASH_BYTES = 32


def leaf_hash(data: bytes | memoryview) -> bytes:
    """Hash of one leaf."""
    return blake3(data, key=_LEAF).digest()


def _join(left: bytes, right: bytes) -> bytes:
    return blake3(left + right, key=_NODE).digest()


def _seal(length: int, top: bytes) -> ShardRoot:
    return ShardRoot(blake3(length.to_bytes(8) + top, key=_ROOT).digest())


class Tree:
    """All levels of one shard's tree."""

    def __init__(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        leaves = [leaf_hash(view[at : at + LEAF_BYTES]) for at in range(0, len(view), LEAF_BYTES)]
        self._grow(len(view), leaves or [leaf_hash(b"")])

    @classmethod
    def from_leaves(cls, length: int, leaves: list[bytes]) -> "Tree":
        """The tree of a shard of `length` bytes whose leaf hashes are known."""
        tree = cls.__new__(cls)
        tree._grow(length, leaves)
        return tree

    def _grow(self, length: int, leaves: list[bytes]) -> None:
        self.length = length
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            above = [_join(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)]
            self._levels.append(above + below[len(above) * 2 :])

    @property
    def root(self) -> ShardRoot:
        """The shard's address."""
        return _seal(self.length, self._levels[-1][0])

    @property
    def leaves(self) -> list[bytes]:
        """The leaf hashes in order, at least one."""
        return self._levels[0]

    def path(self, leaf_index: int) -> list[bytes]:
        """Sibling hashes from the leaf up, none where a node moved up alone."""
        path, at = [], leaf_index
        for level in self._levels[:-1]:
            sibling = at ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            at >>= 1
        return path


def split_path(joined: bytes) -> list[bytes]:
    """The sibling hashes of a path that was sent as one byte string."""
    return [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]


def root_of(data: bytes | memoryview) -> ShardRoot:
    """The Merkle root of a shard, its length included."""
    return Tree(data).root


def verify_leaf(
    root: bytes, length: int, index: int, leaf: bytes | memoryview, path: list[bytes]
) -> bool:
    """True when `leaf` is leaf `index` of the shard of `length` bytes with that root."""
    count = max(1, -(-length // LEAF_BYTES))
    if not 0 <= index < count or len(leaf) != min(LEAF_BYTES, length - index * LEAF_BYTES):
        return False
    node, at, used = leaf_hash(leaf), index, 0
    while count > 1:
        sibling = at ^ 1
        if sibling < count:
            if used >= len(path):
                return False
            other = path[used]
            used += 1
            node = _join(node, other) if at < sibling else _join(other, node)
        at, count = at >> 1, (count + 1) >> 1
    return used == len(path) and _seal(length, node) == root
