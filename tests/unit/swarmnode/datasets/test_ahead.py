"""What is fetched for a read, and what ahead of it."""

from swarmnode.datasets.ahead import AHEAD_MAX, CHUNK_BYTES, ReadAhead

PIECE = 128 * 1024


def test_who_reads_in_order_gets_more_and_more_ahead() -> None:
    reads = ReadAhead(100 * CHUNK_BYTES)
    first = reads.on_read(0, PIECE)
    assert first.is_exact
    ahead = [reads.on_read(at, PIECE).ahead for at in range(PIECE, 8 * CHUNK_BYTES, PIECE)]
    assert not any(ahead[:3])  # it may be a sample of many
    assert ahead[3] == range(1, 2)
    assert len(ahead[-1]) == AHEAD_MAX
    assert ahead[-1] == range(8, 8 + AHEAD_MAX)


def test_nothing_is_ahead_of_the_end() -> None:
    reads = ReadAhead(CHUNK_BYTES + 1)
    for at in range(0, CHUNK_BYTES, PIECE):
        plan = reads.on_read(at, PIECE)
    assert list(plan.ahead) == [1]
    assert list(reads.on_read(CHUNK_BYTES, 1).ahead) == []


def test_who_jumps_gets_what_was_asked_for_and_the_whole_chunk_the_second_time() -> None:
    reads = ReadAhead(100 * CHUNK_BYTES)
    assert reads.on_read(50 * CHUNK_BYTES, 4096).is_exact
    assert reads.on_read(7 * CHUNK_BYTES, 4096).is_exact
    again = reads.on_read(50 * CHUNK_BYTES + CHUNK_BYTES // 2, 4096)
    assert not again.is_exact
    assert not again.is_in_order
    assert again.ahead == range(0)


def test_a_sample_that_the_kernel_asks_for_in_pieces_is_fetched_alone() -> None:
    reads = ReadAhead(1000 * CHUNK_BYTES)
    for number in range(100):
        at = number * 7 * CHUNK_BYTES
        plans = [reads.on_read(at + piece, PIECE) for piece in (0, PIECE, 2 * PIECE)]
        assert all(plan.is_exact and not plan.ahead for plan in plans)


def test_many_readers_go_on_each_in_its_own_place() -> None:
    reads = ReadAhead(1000 * CHUNK_BYTES)
    for step in range(8):
        for worker in range(16):
            plan = reads.on_read(worker * 50 * CHUNK_BYTES + step * PIECE, PIECE)
            assert plan.is_in_order == (step > 3)
