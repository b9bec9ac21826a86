"""What S3-FIFO keeps, beside LRU on the same traces."""

import random
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from storage.cache.policy import S3Fifo


def s3fifo_hits(trace: Iterable[int], entries: int) -> float:
    cache, hits, count = S3Fifo[int](entries), 0, 0
    for key in trace:
        count += 1
        if cache.touch(key):
            hits += 1
        else:
            cache.add(key, 1)
    return hits / count


def lru_hits(trace: Iterable[int], entries: int) -> float:
    cache: OrderedDict[int, None] = OrderedDict()
    hits, count = 0, 0
    for key in trace:
        count += 1
        if key in cache:
            hits += 1
            cache.move_to_end(key)
            continue
        cache[key] = None
        if len(cache) > entries:
            cache.popitem(last=False)
    return hits / count


def zipf(seed: int, keys: int, length: int, exponent: float) -> list[int]:
    weights = [1 / (rank + 1) ** exponent for rank in range(keys)]
    return random.Random(seed).choices(range(keys), weights, k=length)


def with_scans(trace: list[int]) -> Iterator[int]:
    """Now and then somebody reads a lot that nobody reads again."""
    fresh = 1_000_000
    for at, key in enumerate(trace):
        yield key
        if at % 2000 == 0:
            yield from range(fresh, fresh + 600)
            fresh += 600


def test_on_a_zipf_trace_it_hits_more_often_than_lru_by_eight_points() -> None:
    trace = zipf(1, 5000, 60_000, 0.9)
    for entries in (100, 500):
        assert s3fifo_hits(trace, entries) > lru_hits(trace, entries) + 0.05
    assert s3fifo_hits(trace, 100) > lru_hits(trace, 100) + 0.08


def test_scans_do_not_sweep_out_what_is_read_again_and_again() -> None:
    trace = zipf(2, 2000, 40_000, 1.0)
    undisturbed = s3fifo_hits(trace, 400) * len(trace)
    disturbed = list(with_scans(trace))
    hits = s3fifo_hits(disturbed, 400) * len(disturbed)
    assert hits > 0.9 * undisturbed
    assert hits > lru_hits(disturbed, 400) * len(disturbed)


def test_what_was_evicted_early_and_comes_back_is_kept_as_a_regular() -> None:
    cache = S3Fifo[str](10)
    cache.add("early", 1)
    for number in range(10):
        cache.add(f"scan{number}", 1)
    assert "early" not in cache
    cache.add("early", 1)
    for number in range(10, 30):
        cache.add(f"scan{number}", 1)
    assert "early" in cache
