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
from storage.repair.service import RepairStats
from storage.service import ObjectTroubles
from swarmnode.home.membership_end import date

NAMED_MAX: Final = 3
"""Objects, or machines, that are named; the others are counted."""
_NAME_CHARS_MAX: Final = 64
_UNLISTED: Final[Mapping[str, str]] = {
    ObjectKind.KEYRING: "the copy of your keyring",
    ObjectKind.LOG: "logs of tasks",
    ObjectKind.PACK: "contents of folders",
}
"""What no list of objects shows, as people know it."""


def trouble_words(
    troubles: ObjectTroubles, now_ms: int, names: Mapping[PeerId, str] | None = None
) -> list[str]:
    """A line for each kind of trouble; `names` of machines where details are wanted."""
    return [*_of_own(troubles, now_ms, names), *_of_kept(troubles.repair, is_brief=names is None)]


def _of_own(troubles: ObjectTroubles, now_ms: int, names: Mapping[PeerId, str] | None) -> list[str]:
    words = []
    unreadable = [trouble for trouble in troubles.own if trouble.health is ObjectHealth.UNREADABLE]
    if unreadable:
        which = "" if names is None else _which(unreadable)
        whom = "their holders are away" if names is None else _holders(unreadable, names)
        words.append(f"objects of yours cannot be read now{which}: {whom} (obj stat)")
    if (gone := troubles.own_removed) is not None:
        words.append(
            f"the key of the lab removed an object of yours on {date(gone.removed_ms)}, "
            f"{text_of_address(gone.cap.address)}: {gone.removed_why} (obj ls shows all such; obj "
            "rm takes them off the list)"
        )
    degraded = [trouble for trouble in troubles.own if trouble.health is ObjectHealth.DEGRADED]
    if degraded:
        which = "" if names is None else _which(degraded)
        then = _ANEW if names is None else _until(degraded, now_ms, names)
        words.append(f"objects of yours lack copies{which}: {then}")
    return words


def _of_kept(repair: RepairStats, *, is_brief: bool) -> list[str]:
    words = []
    if repair.unreadable:
        words.append("objects kept here cannot be read now: too many of their holders are away")
    if repair.degraded > repair.unreadable:
        which = "" if is_brief else _kept_ones(repair)
        words.append(f"objects kept here lack copies{which}: {_ANEW}")
    return words


def _kept_ones(repair: RepairStats) -> str:
    """Where to look: what is kept for others has no name here."""
    known = list(map(text_of_address, repair.degraded_some))
    rest = repair.degraded_objects - len(known)
    more = f" and {rest} more" if rest > 0 else ""
    return f" ({', '.join(known)}{more}; obj stat ADDRESS says where)" if known else ""


_ANEW: Final = "they are made anew when machines are there"


def _which(troubles: Sequence[ObjectTrouble]) -> str:
    since_ms = min(trouble.since_ms for trouble in troubles)
    in_order = sorted(troubles, key=lambda trouble: (trouble.kind in _UNLISTED, trouble.name))
    return f" ({_some(map(_called, in_order))}; since {date(since_ms)})"


def _called(trouble: ObjectTrouble) -> str:
    if trouble.kind in _UNLISTED:
        return _UNLISTED[trouble.kind]
    name = trouble.name or text_of_address(trouble.address)
    return name if len(name) <= _NAME_CHARS_MAX else f"{name[: _NAME_CHARS_MAX - 3]}..."


def _until(troubles: Sequence[ObjectTrouble], now_ms: int, names: Mapping[PeerId, str]) -> str:
    """What is waited for before copies are made anew."""
    until_ms = max(trouble.until_ms for trouble in troubles)
    if not until_ms and not any(trouble.removed for trouble in troubles):
        return _ANEW
    away, due = _away(troubles, names), sum(one.until_ms <= now_ms for one in troubles)
    soon = "made anew as soon as machines have room for them"
    if due == len(troubles):
        return f"{away}; they are {soon}"
    if due:
        some = f"{due} of them {_be(due)} {soon}"
        return f"{away}; {some}, with the others it is waited until {date(until_ms)}"
    return f"{away}, and waited for until {date(until_ms)}; then they are made anew elsewhere"


def _holders(troubles: Sequence[ObjectTrouble], names: Mapping[PeerId, str]) -> str:
    is_known = any(trouble.away or trouble.removed for trouble in troubles)
    return _away(troubles, names) if is_known else "no holder answers"


def _away(troubles: Sequence[ObjectTrouble], names: Mapping[PeerId, str]) -> str:
    """Who was removed, and then who is away: what follows is about these."""
    removed = dict.fromkeys(peer for trouble in troubles for peer in trouble.removed)
    away = dict.fromkeys(peer for trouble in troubles for peer in trouble.away)
    words = []
    if removed:
        was = "was" if len(removed) == 1 else "were"
        words.append(f"{_some(names.get(peer) or peer for peer in removed)} {was} removed")
    if away:
        words.append(f"{_some(names.get(peer) or peer for peer in away)} {_be(len(away))} away")
    return ", ".join(words)


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _some(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    every = list(dict.fromkeys(texts))
    rest = len(every) - NAMED_MAX
    shown = ", ".join(every[:NAMED_MAX])
    return f"{shown} and {rest} more" if rest > 0 else shown
