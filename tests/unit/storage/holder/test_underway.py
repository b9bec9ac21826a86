"""What somebody puts is not freed by who decided about it before."""

import pytest

from p2p.errors import RefusalError
from storage.holder.leases.underway import Underway
from storage.ids import ShardRoot

A, B, C = (ShardRoot(bytes([number]) * 32) for number in range(3))


def test_what_is_put_while_it_is_judged_is_not_judged_any_more() -> None:
    underway = Underway()
    with underway.judging([A, B]) as judged:
        assert judged.spans([A, B])
        with underway.putting(A):
            pass
        assert not judged.has(A)
        assert judged.has(B)
        assert not judged.spans([B]), "the object is wanted here"


def test_a_put_that_began_before_the_judging_counts_when_it_ends() -> None:
    underway = Underway()
    with underway.putting(A):
        judging = underway.judging([A, B])
        judged = judging.__enter__()
    assert not judged.has(A)
    judging.__exit__(None, None, None)


def test_of_puts_of_other_shards_nothing_is_remembered_and_after_the_judging_of_none() -> None:
    underway = Underway()
    with underway.judging([A]) as judged:
        with underway.putting(C):
            pass
        assert not judged.brought
        assert not judged.spans([A, C])
    with underway.putting(A):
        pass
    assert judged.has(A)


def test_what_is_being_put_is_not_freed_and_what_is_being_freed_is_not_put() -> None:
    underway = Underway()
    with underway.putting(A), underway.putting(A), underway.freeing([A, B]) as mine:
        assert mine == [B]
        with underway.freeing([A, B, C]) as others:
            assert others == [C]
        with pytest.raises(RefusalError, match="being freed"), underway.putting(B):
            pass
        assert underway.has(A)
    assert not any(underway.has(root) for root in (A, B, C))
