"""When a machine speaks of its storage before its turn."""

import pytest

from storage.placement.advert import StorageAdvert, is_news

GIB = 1 << 30
TOLD = StorageAdvert(lends=True, free_bytes=GIB, quota_bytes=2 * GIB)


@pytest.mark.parametrize(
    "now",
    [
        StorageAdvert(lends=False, free_bytes=GIB, quota_bytes=2 * GIB),
        StorageAdvert(lends=True, free_bytes=GIB, quota_bytes=3 * GIB),
        StorageAdvert(lends=True, free_bytes=GIB - GIB // 16, quota_bytes=2 * GIB),
        StorageAdvert(lends=True, free_bytes=GIB + GIB // 16, quota_bytes=2 * GIB),
    ],
)
def test_what_rules_a_machine_in_or_out_is_told_at_once(now: StorageAdvert) -> None:
    assert is_news(TOLD, now)


def test_one_object_more_or_less_is_told_when_the_advert_is_renewed() -> None:
    assert not is_news(
        TOLD, StorageAdvert(lends=True, free_bytes=GIB - 8_000_000, quota_bytes=2 * GIB)
    )


def test_what_has_not_changed_is_no_news_not_even_from_a_machine_that_lends_nothing() -> None:
    nothing = StorageAdvert(lends=False, free_bytes=0, quota_bytes=0)
    assert not is_news(nothing, nothing)
