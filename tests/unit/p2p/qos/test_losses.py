"""Losses without a queue are nobody's fault; those behind a queue are congestion."""

from p2p.qos.losses import LossConfig, LossWatch

SHORT_S, LONG_S = 0.003, 0.1
EVERY_S = 0.025


def watch(losses_every_s: float, queue_s: float, *, within_s: float = 20.0) -> float | None:
    """When a path turns out to be lossy, if it does."""
    watched = LossWatch()
    retransmits, next_loss_s, now_s = 0, losses_every_s, 0.0
    while now_s < within_s:
        now_s += EVERY_S
        if now_s >= next_loss_s:
            retransmits, next_loss_s = retransmits + 1, next_loss_s + losses_every_s
        if watched.look(retransmits, queue_s, now_s):
            return now_s
    assert not watched.is_lossy
    return None


def test_losses_on_a_short_queue_make_a_path_lossy() -> None:
    found_s = watch(losses_every_s=1.0, queue_s=SHORT_S)
    assert found_s is not None
    assert found_s <= LossConfig().looks * 1.0 + EVERY_S


def test_losses_behind_a_long_queue_are_the_queue_s() -> None:
    assert watch(losses_every_s=1.0, queue_s=LONG_S) is None


def test_a_loss_now_and_then_changes_nothing() -> None:
    assert watch(losses_every_s=10.0, queue_s=SHORT_S, within_s=300.0) is None


def test_many_losses_seen_at_once_count_once() -> None:
    watched = LossWatch()
    assert not watched.look(1000, SHORT_S, 1.0)
    assert not watched.is_lossy


def test_a_queue_that_has_just_gone_may_still_have_dropped_it() -> None:
    watched = LossWatch()
    watched.look(0, LONG_S, 0.0)
    for retransmits in range(1, 8):
        assert not watched.look(retransmits, SHORT_S, retransmits * EVERY_S)


def test_it_is_told_once() -> None:
    watched = LossWatch()
    told = [watched.look(number, SHORT_S, number * 0.1) for number in range(1, 30)]
    assert told.count(True) == 1
    assert watched.is_lossy
