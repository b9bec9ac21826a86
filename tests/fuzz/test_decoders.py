"""Only the error a decoder names ever leaves it; and no input takes long or needs much memory."""

import tracemalloc

import pytest

from p2p.wire.codec import Message, number_of
from tests.fuzz.campaign import campaign, outcome, stored
from tests.fuzz.samples import every_struct
from tests.fuzz.targets import TARGETS, Target

MEMORY_BYTES_MAX = 8 * 1024 * 1024
"""What decoding one control frame may need at its worst: MessagePack amplifies 73 times."""

BOMBS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\xff\xff" + b"\x80" * 60_000,
    b"\x91" * 60_000,
    b"\x92\x08" + b"\xc6\xff\xff\xff\xff" + bytes(60_000),
    b"\xdd\x04\x00\x00\x00" * 12_000,
    b"\xff" * 65_000,
    b"[" * 65_000,
    b'{"a":' * 13_000,
    b"a = " + b"[" * 60_000,
    b"a" + b".a" * 30_000 + b" = 1",
    b"9" * 65_000,
    bytes(65_000),
)
TARGET = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


@TARGET
def test_what_is_good_is_taken(target: Target) -> None:
    for data in target.good():
        target.run(data)


@TARGET
def test_what_once_showed_something_still_ends_well(target: Target) -> None:
    for data in stored(target):
        outcome(target, data)


@TARGET
def test_bombs_are_refused_within_time_and_memory(target: Target) -> None:
    for bomb in (*BOMBS, *(good[:20] + bomb for good in target.good()[:3] for bomb in BOMBS)):
        outcome(target, bomb)
        tracemalloc.start()
        try:
            outcome(target, bomb)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes <= MEMORY_BYTES_MAX, (target.name, bomb[:40])


@TARGET
def test_mutants_are_taken_or_refused(target: Target) -> None:
    list(campaign(target, target.cases, seed=0))


@pytest.mark.slow
@TARGET
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_mutants_are_taken_or_refused(target: Target, seed: int) -> None:
    list(campaign(target, 50 * target.cases, seed))


def test_every_message_has_a_number_and_a_sample() -> None:
    kinds = [kind for kind in every_struct().values() if issubclass(kind, Message)]
    assert len({number_of(kind) for kind in kinds}) == len(kinds) >= 60
