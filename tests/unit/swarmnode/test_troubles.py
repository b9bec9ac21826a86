"""What `status` says of objects that are not as they should be."""

from msgspec.structs import replace

from p2p.ids import PeerId
from storage.facade import ObjectHealth
from storage.ids import Address
from storage.manifests.capability import text_of_address
from storage.objects.standing import ObjectTrouble
from storage.repair.service import RepairStats
from storage.service import ObjectTroubles
from swarmnode.overview.troubles import trouble_words

ALPHA = PeerId("12D3alpha")
BETA = PeerId("12D3beta")
NAMES = {ALPHA: "alpha", BETA: "beta"}
NOW_MS, LATER_MS = 60_000, 15 * 60_000


def address(number: int) -> Address:
    return Address(bytes([number] * 32))


def lacking(number: int, until_ms: int) -> ObjectTrouble:
    degraded = ObjectHealth.DEGRADED
    return ObjectTrouble(
        address(number), f"o{number}", "", degraded, since_ms=1, away=(ALPHA,), until_ms=until_ms
    )


def words(*own: ObjectTrouble, kept: int = 0, pages: int = 1, brief: bool = False) -> list[str]:
    """Of each object `kept` here so many `pages` lack shards."""
    some = tuple(map(address, range(min(kept, 3))))
    repair = RepairStats(0, 0, 0, 0, 0, 0, 99, kept * pages, kept, some, 0)
    return trouble_words(ObjectTroubles(own, None, repair), NOW_MS, None if brief else NAMES)


def test_what_is_made_anew_at_once_is_not_said_to_be_waited_for() -> None:
    (mixed,) = words(lacking(1, NOW_MS - 1), lacking(2, NOW_MS), lacking(3, LATER_MS))
    assert "alpha is away; 2 of them are made anew as soon as machines have room for them" in mixed
    assert mixed.endswith("with the others it is waited until 1970-01-01 00:15 UTC")
    (all_soon,) = words(lacking(1, NOW_MS - 1))
    assert all_soon.endswith("is away; they are made anew as soon as machines have room for them")
    (all_later,) = words(lacking(1, LATER_MS))
    assert "alpha is away, and waited for until 1970-01-01 00:15 UTC; then they" in all_later


def test_who_was_removed_is_said_to_be_and_not_waited_for() -> None:
    out = ObjectTrouble(
        address(1), "o1", "", ObjectHealth.DEGRADED, since_ms=1, removed=(BETA,), until_ms=0
    )
    (line,) = words(out)
    assert line.endswith("): beta was removed; they are made anew as soon as machines have room "
                         "for them")  # fmt: skip
    (both,) = words(out, lacking(2, LATER_MS))
    assert "beta was removed, alpha is away; 1 of them is made anew as soon as" in both
    assert both.endswith("with the others it is waited until 1970-01-01 00:15 UTC")
    (lost,) = words(replace(out, health=ObjectHealth.UNREADABLE))
    assert lost.endswith("): beta was removed (obj stat)")


def test_what_is_kept_here_and_lacks_copies_goes_by_its_addresses() -> None:
    (line,) = words(kept=5)
    assert line.startswith(f"objects kept here lack copies ({text_of_address(address(0))}, ")
    assert " and 2 more; obj stat ADDRESS says where): they are made anew when" in line
    (line,) = words(kept=1)
    assert f"({text_of_address(address(0))}; obj stat ADDRESS says where)" in line
    (line,) = words(kept=1, pages=50)
    assert f"({text_of_address(address(0))}; obj stat ADDRESS says where)" in line, "no 49 more"
    assert words(kept=5, brief=True) == [
        "objects kept here lack copies: they are made anew when machines are there"
    ]
