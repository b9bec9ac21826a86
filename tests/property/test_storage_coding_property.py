"""Coding and hashing over all their inputs."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.coding.erasure import Code
from storage.coding.merkle import Tree, root_of, verify_leaf
from storage.limits import LEAF_BYTES


@st.composite
def codes(draw: st.DrawFn) -> Code:
    n = draw(st.integers(1, 24))
    return Code(draw(st.integers(1, n)), n)


@settings(deadline=None)
@given(codes(), st.binary(max_size=3000), st.randoms(use_true_random=False))
def test_any_k_shards_decode_and_rebuild(code: Code, data: bytes, dice: Random) -> None:
    shards = dict(enumerate(code.encode(data)))
    kept = dict(dice.sample(sorted(shards.items()), code.k))
    assert code.decode(kept, len(data)) == data
    assert code.rebuild(kept, sorted(shards)) == shards


@settings(deadline=None)
@given(st.integers(0, 6 * LEAF_BYTES), st.integers(0, 6 * LEAF_BYTES), st.integers(0, 7))
def test_a_changed_byte_anywhere_is_noticed(length: int, at: int, bit: int) -> None:
    data = bytes(length)
    tree = Tree(data)
    if at >= length:
        return
    wrong = bytearray(data)
    wrong[at] ^= 1 << bit
    assert root_of(bytes(wrong)) != tree.root
    index = at // LEAF_BYTES
    leaf = wrong[index * LEAF_BYTES : (index + 1) * LEAF_BYTES]
    assert not verify_leaf(tree.root, length, index, bytes(leaf), tree.path(index))
