"""A record that this version cannot read is told with its file and what to do."""

import pytest

from p2p.wire.codec import Record, encode
from storage.engine.stored import stored
from storage.errors import StoreFailedError


class Kept(Record, frozen=True):
    """As we keep it."""

    text: str


class Other(Record, frozen=True):
    """As another version did."""

    number: int


def test_a_record_of_ours_comes_back() -> None:
    assert stored(Kept, encode(Kept("x")), "state.lmdb") == Kept("x")


@pytest.mark.parametrize("data", [encode(Other(1)), b"", b"\xff" * 20])
def test_a_record_of_another_version_is_named_with_its_file(data: bytes) -> None:
    with pytest.raises(StoreFailedError, match=r"state\.lmdb holds a Kept .*run the version"):
        stored(Kept, data, "state.lmdb")
