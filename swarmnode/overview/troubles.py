"""Objects that are not as they should be, in words: which, since when, and until when it is waited.

Whoever asks `status` is told all of that; the log, which has a line for each change, only that it
is so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from p2p.ids import PeerId
from storage.facade import ObjectHealth, ObjectKind
from storage.manifests.capability import text_of_address
from storage.objects.standing import ObjectTrouble
from storage.service import ObjectTroubles
from swarmnode.home.membership_end import date

NAMED_MAX: Final = 3
"""Objects, or machines, that are named; the others are counted."""
_NAME_CHARS_MAX: Final = 64
_UNLISTED: Final[Mapping[str, str]] = {
    ObjectKind.KEYRING: "the copy of your keyring",
    ObjectKind.LOG: "logs of tasks",
}
"""What no list of objects shows, as people know it."""


def trouble_words(
    found: ObjectTroubles, now_ms: int, names: Mapping[PeerId, str] | None = None
) -> list[str]:
    """A line for each kind of trouble; `names` of machines where details are wanted."""
    words = []
    unreadable = [one for one in found.own if one.health is ObjectHealth.UNREADABLE]
    if unreadable:
        which = "" if names is None else _which(unreadable)
        whom = "their holders are away" if names is None else _holders(unreadable, names)
        words.append(f"objects of yours cannot be read now{which}: {whom} (obj stat)")
    if (gone := found.own_removed) is not None:
        words.append(
            f"the key of the lab removed an object of yours on {date(gone.removed_ms)}, "
            f"{text_of_address(gone.cap.address)}: {gone.removed_why} (obj ls shows all such; obj "
            "rm takes them off the list)"
        )
    degraded = [one for one in found.own if one.health is ObjectHealth.DEGRADED]
    if degraded:
        which = "" if names is None else _which(degraded)
        then = _ANEW if names is None else _until(degraded, now_ms, names)
        words.append(f"objects of yours lack copies{which}: {then}")
    if found.repair.unreadable:
        words.append("objects kept here cannot be read now: too many of their holders are away")
    if found.repair.degraded > found.repair.unreadable:
        words.append(f"objects kept here lack copies: {_ANEW}")
    return words


_ANEW: Final = "they are made anew when machines are there"


def _which(troubles: Sequence[ObjectTrouble]) -> str:
    since_ms = min(one.since_ms for one in troubles)
    in_order = sorted(troubles, key=lambda one: (one.kind in _UNLISTED, one.name))
    return f" ({_some(map(_called, in_order))}; since {date(since_ms)})"


def _called(one: ObjectTrouble) -> str:
    if one.kind in _UNLISTED:
        return _UNLISTED[one.kind]
    name = one.name or text_of_address(one.address)
    return name if len(name) <= _NAME_CHARS_MAX else f"{name[: _NAME_CHARS_MAX - 3]}..."


def _until(troubles: Sequence[ObjectTrouble], now_ms: int, names: Mapping[PeerId, str]) -> str:
    """What is waited for before copies are made anew."""
    until_ms = max(one.until_ms for one in troubles)
    if not until_ms:
        return _ANEW
    away = _away(troubles, names)
    if until_ms <= now_ms:
        return f"{away}; they are made anew as soon as machines have room for them"
    return f"{away}, and waited for until {date(until_ms)}; then they are made anew elsewhere"


def _holders(troubles: Sequence[ObjectTrouble], names: Mapping[PeerId, str]) -> str:
    return _away(troubles, names) if any(one.away for one in troubles) else "no holder answers"


def _away(troubles: Sequence[ObjectTrouble], names: Mapping[PeerId, str]) -> str:
    peers = dict.fromkeys(peer for one in troubles for peer in one.away)
    return f"{_some(names.get(peer) or peer for peer in peers)} {_be(len(peers))} away"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _some(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    every = list(dict.fromkeys(texts))
    rest = len(every) - NAMED_MAX
    shown = ", ".join(every[:NAMED_MAX])
    return f"{shown} and {rest} more" if rest > 0 else shown
