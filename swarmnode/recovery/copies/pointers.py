"""Which machine's copy of its keyring lies where, and whose was taken over by whom. Plain rules.

All of a person's machines share this one value, so a change touches what is its machine's own.
"""

from collections.abc import Sequence

from p2p.ids import PeerId
from p2p.wire.codec import Record
from swarmnode.errors import SnapshotError
from swarmnode.limits import MACHINES_PER_PERSON_MAX, TAKEN_OVER_KEPT_MAX


class Pointer(Record, frozen=True):
    """Where the newest copy of one machine is, and which machine of the person writes it."""

    cap: str
    writer: PeerId


class Taken(Record, frozen=True):
    """A machine that was gone, and the one that has its things now."""

    writer: PeerId
    by: PeerId
    at_ms: int = 0
    """By the taker's clock, and later than of any takeover before. Tasks that were submitted there
    without knowing of it are the taker's."""
    cap: str = ""
    """Which copy that was, of a machine that keeps its own place: it cannot be taken out there."""


class KeyringCopies(Record, frozen=True):
    """The copies of all machines of a person."""

    pointers: tuple[Pointer, ...] = ()
    """One of each machine; more where one has just taken over those of others."""
    taken: tuple[Taken, ...] = ()
    """The oldest first."""
    siblings: tuple[PeerId, ...] = ()
    """Other machines of the person that were seen, the newest last: some keep their own place."""


def is_taken(copies: KeyringCopies, pointer: Pointer) -> bool:
    """Whether a copy that lies at its machine's own place was taken over already."""
    return any((taken.writer, taken.cap) == (pointer.writer, pointer.cap) for taken in copies.taken)


def taken_from(copies: KeyringCopies, me: PeerId) -> Taken | None:
    """Whether this machine was thought gone, and by whom."""
    return next((taken for taken in copies.taken if taken.writer == me), None)


def taken_by(copies: KeyringCopies, me: PeerId) -> list[Taken]:
    """Machines whose things are here: of one that had taken over others, theirs as well."""
    ours, here = {me}, list[Taken]()
    while more := [taken for taken in copies.taken if taken.by in ours and taken not in here]:
        here += more
        ours |= {taken.writer for taken in more}
    return here


def check_room(copies: KeyringCopies, me: PeerId) -> None:
    """Raises SnapshotError when there is no room for one more machine."""
    others = sum(pointer.writer != me for pointer in copies.pointers)
    if others >= MACHINES_PER_PERSON_MAX:
        raise SnapshotError(
            f"{others} machines of yours have one already, and there is no room for more: "
            "`recover` on a blank machine takes over those of machines that are gone"
        )


def with_copy(
    copies: KeyringCopies, mine: Pointer, known: Taken | None, siblings: Sequence[PeerId] = ()
) -> KeyringCopies:
    """This machine's newest copy in place of what it had, and of what it took over.

    `known` is who had taken it over when the copy was made; `siblings` are machines of the person
    that it knows of. Raises SnapshotError.
    """
    check_room(copies, mine.writer)
    if taken_from(copies, mine.writer) != known:
        raise SnapshotError("another machine of yours has just taken over what was here")
    others = tuple(pointer for pointer in copies.pointers if pointer.writer != mine.writer)
    seen = tuple(dict.fromkeys((*copies.siblings, *siblings)))[-MACHINES_PER_PERSON_MAX:]
    return KeyringCopies((*others, mine), copies.taken, seen)


def taken_over(
    copies: KeyringCopies,
    gone: Sequence[Pointer],
    me: PeerId,
    now_ms: int,
    apart: Sequence[Pointer] = (),
) -> KeyringCopies:
    """Copies of machines that are gone are this machine's from now on.

    `apart` are those that lie at their machines' own places. Raises SnapshotError when one is no
    longer as it was: its machine lives, or somebody was faster.
    """
    if not set(gone) <= set(copies.pointers) or any(is_taken(copies, old) for old in apart):
        raise SnapshotError("the copies have changed meanwhile")
    pointers = [Pointer(old.cap, me) if old in gone else old for old in copies.pointers]
    pointers += [Pointer(old.cap, me) for old in apart]
    caps = {old.writer: "" for old in gone} | {old.writer: old.cap for old in apart}
    before = tuple(earlier for earlier in copies.taken if earlier.writer not in caps)
    last_ms = max((earlier.at_ms for earlier in copies.taken), default=0)
    at_ms = max(now_ms, last_ms + 1)
    taken = (*before, *(Taken(writer, me, at_ms, cap) for writer, cap in caps.items()))
    return KeyringCopies(tuple(pointers), taken[-TAKEN_OVER_KEPT_MAX:], copies.siblings)
