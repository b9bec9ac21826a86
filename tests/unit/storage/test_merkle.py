"""Merkle trees over leaves: any range verifies, nothing else does."""

import pytest
from blake3 import blake3

from storage.coding.merkle import Tree, leaf_hash, root_of, split_path, verify_leaf
from storage.limits import LEAF_BYTES

LENGTHS = (0, 1, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES, 7 * LEAF_BYTES + 5)


def data_of(length: int) -> bytes:
    return blake3(b"test").digest(length)


def leaf_of(data: bytes, index: int) -> bytes:
    return data[index * LEAF_BYTES : (index + 1) * LEAF_BYTES]


@pytest.mark.parametrize("length", LENGTHS)
def test_every_leaf_verifies_with_its_path_and_no_other(length: int) -> None:
    data, tree = data_of(length), Tree(data_of(length))
    for index in range(len(tree.leaves)):
        leaf, path = leaf_of(data, index), tree.path(index)
        assert verify_leaf(tree.root, length, index, leaf, path)
        assert not verify_leaf(tree.root, length, index + 1, leaf, path)
        assert not verify_leaf(tree.root, length + 1, index, leaf, path)
        assert not verify_leaf(tree.root, length, index, leaf + b"x", path)
        assert not verify_leaf(tree.root, length, index, leaf, [*path, bytes(32)])
        assert not verify_leaf(tree.root, length, -1, leaf, path)
        if leaf:
            assert not verify_leaf(tree.root, length, index, leaf[:-1], path)
        if path:
            assert not verify_leaf(tree.root, length, index, leaf, path[:-1])
            assert not verify_leaf(tree.root, length, index, leaf, [bytes(32), *path[1:]])


def test_the_root_binds_the_length() -> None:
    roots = {root_of(bytes(length)) for length in (0, 1, LEAF_BYTES, LEAF_BYTES + 1)}
    assert len(roots) == 4


def test_a_node_cannot_stand_for_a_leaf() -> None:
    tree = Tree(data_of(2 * LEAF_BYTES))
    assert leaf_hash(b"".join(tree.leaves)) not in {tree.root, *tree.path(0)}
    assert root_of(b"".join(tree.leaves)) != tree.root


def test_a_tree_is_known_by_its_leaf_hashes() -> None:
    tree = Tree(data_of(5 * LEAF_BYTES + 1))
    again = Tree.from_leaves(tree.length, tree.leaves)
    assert again.root == tree.root
    assert again.path(3) == tree.path(3)


def test_a_path_travels_as_one_byte_string() -> None:
    path = Tree(data_of(5 * LEAF_BYTES)).path(1)
    assert split_path(b"".join(path)) == path
    assert split_path(b"") == []


def test_the_root_of_a_known_shard_never_changes() -> None:
    known = "19090f32bf0b1ac9552da51a44c9be151cac48675e653de687b9fd0417b46e11"
    assert root_of(data_of(100_000)).hex() == known
