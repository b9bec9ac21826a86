"""The cache policy against a plain model of what is kept."""

from hypothesis import given
from hypothesis import strategies as st

from storage.cache.policy import S3Fifo

steps = st.lists(
    st.tuples(st.sampled_from(["touch", "add", "remove"]), st.integers(0, 20), st.integers(0, 40))
)


@given(st.integers(0, 100), steps)
def test_it_never_holds_more_than_its_bytes_and_says_what_went(
    bytes_max: int, trace: list[tuple[str, int, int]]
) -> None:
    cache, model = S3Fifo[int](bytes_max), dict[int, int]()
    for act, key, size in trace:
        if act == "touch":
            assert cache.touch(key) == (key in model)
        elif act == "remove":
            assert cache.remove(key) == (model.pop(key, None) is not None)
        else:
            model[key] = size
            for gone in cache.add(key, size):
                del model[gone]
            assert (key in cache) == (size <= bytes_max)
        assert {key for key in range(21) if key in cache} == set(model)
        assert cache.bytes == sum(model.values()) <= bytes_max
        assert len(cache) == len(model)


@given(st.integers(1, 50), st.lists(st.integers(0, 1000), max_size=300))
def test_ghosts_are_bounded_too(entries: int, keys: list[int]) -> None:
    cache = S3Fifo[int](entries)
    for key in keys:
        if not cache.touch(key):
            cache.add(key, 1)
    assert len(cache._ghosts.entries) <= entries
