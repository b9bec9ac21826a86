"""k of n: which shards give the data back."""

from itertools import combinations

import pytest

from storage.coding.erasure import Code


def test_any_k_shards_give_the_data_back() -> None:
    code, data = Code(3, 6), bytes(range(251)) * 4
    shards = code.encode(data)
    for chosen in combinations(range(6), 3):
        assert code.decode({at: shards[at] for at in chosen}, len(data)) == data


def test_the_first_k_shards_are_the_data_itself() -> None:
    code, data = Code(4, 6), bytes(range(200))
    shards = code.encode(data)
    assert b"".join(shards[:4]) == data
    assert len({len(shard) for shard in shards}) == 1


def test_the_last_data_shards_are_padded_and_cut_again() -> None:
    code, data = Code(8, 12), b"x" * 10
    shards = code.encode(data)
    assert len(shards[0]) == code.shard_bytes(10) == 2
    assert code.decode(dict(list(enumerate(shards))[4:]), 10) == data


def test_nothing_is_still_one_byte_a_shard() -> None:
    code = Code(3, 5)
    shards = code.encode(b"")
    assert [len(shard) for shard in shards] == [1] * 5
    assert code.decode({1: shards[1], 3: shards[3], 4: shards[4]}, 0) == b""


@pytest.mark.parametrize("wanted", [[0], [5], [1, 4], [0, 1, 2]])
def test_lost_shards_are_rebuilt_as_they_were(wanted: list[int]) -> None:
    code, data = Code(3, 6), bytes(range(256)) * 3
    shards = code.encode(data)
    kept = {at: shards[at] for at in range(6) if at not in wanted}
    assert code.rebuild(kept, wanted) == {at: shards[at] for at in wanted}


def test_full_copies_are_a_code_with_k_of_one() -> None:
    code = Code(1, 3)
    assert code.encode(b"copy") == [b"copy"] * 3
    assert code.decode({2: b"copy"}, 4) == b"copy"
    assert code.rebuild({1: b"copy"}, [0, 2]) == {0: b"copy", 2: b"copy"}


def test_too_few_shards_are_refused() -> None:
    code = Code(3, 6)
    shards = code.encode(b"data")
    with pytest.raises(ValueError, match="2 shards, 3 needed"):
        code.decode({0: shards[0], 5: shards[5]}, 4)
    with pytest.raises(ValueError, match="2 shards, 3 needed"):
        code.rebuild({0: shards[0], 5: shards[5]}, [1])


@pytest.mark.parametrize(("k", "n"), [(0, 1), (2, 1), (1, 256), (-1, 5)])
def test_impossible_codes_are_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no"):
        Code(k, n)


def test_the_parity_of_known_data_never_changes() -> None:
    """The shards on every disk were made by this matrix."""
    known = ["737761", "726d21", "7143e1", "771f7c"]
    assert [shard.hex() for shard in Code(2, 4).encode(b"swarm!")] == known
