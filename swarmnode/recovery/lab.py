"""The lab's key as a second way back, for those who want it: `init --lab-recovery`.

The person's seed, sealed for the lab's key, lies under a name of the person. Whoever holds that
key may open it with our program only after writing that down under a name of the lab, which every
node reads and tells. What they do without our program nobody can see.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import trio

from p2p.errors import WireError
from p2p.identity.keys import KeySigner
from p2p.limits import WALL_MS_MAX
from p2p.wire.codec import Record, decode_as, encode
from storage.errors import NameConflictError, StorageError
from storage.facade import OwnedNames
from swarmnode.errors import RecoveryRefusedError, SnapshotError
from swarmnode.limits import OPENINGS_KEPT_MAX
from swarmnode.recovery.box import open_box, seal_to
from swarmnode.recovery.copies.shelf import TRIES
from swarmnode.recovery.phrase import words_of

SEALED_NAME: Final = "lab-recovery"
"""Of a person."""
OPENED_NAME: Final = "recoveries"
"""Of a lab."""
PURPOSE: Final = "lab recovery"
OPENINGS_LOOK_S: Final = 120.0
"""Between two looks at what was opened: nothing depends on hearing it sooner."""
LAB_NAMES_AGAIN_S: Final = 5.0
"""After names could not be read, or others are still to be met."""
TOLD_MS: Final = 30 * 86_400_000
"""An opening is told in `status` for so long: whoever was on holiday should see it."""

log = logging.getLogger("swarm.recovery")


class Sealed(Record, frozen=True):
    """A person's seed, for a lab."""

    lab: str
    """The id of the lab's key."""
    box: bytes


class Opening(Record, frozen=True):
    """A use of the lab's key for somebody's phrase."""

    person: str
    """The id of the person's key."""
    name: str
    by: str
    """The person and machine that did it, as its certificate says."""
    at_ms: int

    @property
    def is_sound(self) -> bool:
        """Whether it can be told: whoever has the lab's key can write anything there."""
        return 0 <= self.at_ms <= WALL_MS_MAX and f"{self.name}{self.by}".isprintable()

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"the lab's key was used on {when} to show the phrase of {self.name}, by {self.by}"


class Openings(Record, frozen=True):
    """Of one lab, the oldest first."""

    last: tuple[Opening, ...] = ()


class LabRecovery:
    """Does what this machine's owner wants, and listens to what the lab's key was used for."""

    def __init__(
        self,
        lab: str,
        labs: OwnedNames,
        wish: str,
        waits_for_others: Callable[[], bool],
        entropy: Callable[[int], bytes],
        wall_ms: Callable[[], int],
        *,
        persons: OwnedNames | None = None,
        seed: bytes = b"",
    ) -> None:
        """`wish`: on, off or empty (as it is); the last two where the person's key lies."""
        self._lab, self._labs, self._wish = lab, labs, wish
        self._waits_for_others, self._entropy, self._wall_ms = waits_for_others, entropy, wall_ms
        self._persons, self._seed = persons, seed
        self._is_on = False
        """The person's seed lies sealed for this lab, as of the newest look."""
        self._openings: tuple[Opening, ...] = ()
        """What the lab's key was used for, as of the newest look; told when it is new."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        task_status.started()
        while True:
            pause_s = LAB_NAMES_AGAIN_S
            if not self._waits_for_others():
                with suppress(StorageError, SnapshotError):
                    await self._settle()
                    await self._listen()
                    pause_s = OPENINGS_LOOK_S
            await trio.sleep(pause_s)

    def notes(self) -> tuple[str, ...]:
        """For status."""
        since_ms = self._wall_ms() - TOLD_MS
        told = tuple(str(opening) for opening in self._openings if opening.at_ms >= since_ms)
        if not self._is_on:
            return told
        return (
            "lab recovery is on: whoever holds the lab's key can read your recovery phrase "
            '(node.lab_recovery = "off" ends that)',
            *told,
        )

    async def _settle(self) -> None:
        """Raises StorageError."""
        if self._persons is None:
            return
        known = await self._persons.read(SEALED_NAME)
        sealed = sealed_in(known.value if known else b"")
        is_ours = sealed is not None and sealed.lab == self._lab
        wanted: bytes | None = None
        if self._wish == "on" and not is_ours:
            box = seal_to(self._lab, PURPOSE, self._seed, self._entropy)
            wanted = encode(Sealed(self._lab, box))
        elif self._wish == "off" and known is not None and known.value:
            wanted = b""
        if wanted is not None:
            sequence = known.sequence if known else 0
            await self._persons.write(SEALED_NAME, wanted, expected=sequence, fence=0)
            is_ours = bool(wanted)
        self._is_on = is_ours

    async def _listen(self) -> None:
        """Raises StorageError."""
        known = await self._labs.read(OPENED_NAME)
        openings = openings_in(known.value if known else b"").last
        for opening in openings:
            if opening not in self._openings and opening.at_ms >= self._wall_ms() - TOLD_MS:
                log.warning("%s", opening)
        self._openings = openings


async def phrase_by_lab(
    person: str,
    name: str,
    by: str,
    lab_seed: bytes,
    persons: OwnedNames,
    labs: OwnedNames,
    now_ms: int,
) -> str:
    """The phrase of a person, after it was written down for the whole lab that it was read.

    Raises RecoveryRefusedError, StorageError; then nothing was opened.
    """
    known = await persons.read(SEALED_NAME)
    sealed = sealed_in(known.value if known else b"")
    lab = KeySigner.from_seed(lab_seed).peer_id
    if sealed is None or sealed.lab != lab:
        raise RecoveryRefusedError(
            f"{name} has not let this lab's key bring them back (init or join --lab-recovery, "
            'node.lab_recovery = "on"): only their own phrase does'
        )
    try:
        seed = open_box(lab_seed, PURPOSE, sealed.box)
        if KeySigner.from_seed(seed).peer_id != person:
            raise SnapshotError("it holds another key")
    except (SnapshotError, ValueError) as exc:
        raise RecoveryRefusedError(f"what {name} left for this lab cannot be used: {exc}") from exc
    opening = Opening(person, name, by, now_ms)
    await _write_down(labs, opening)
    log.warning("%s", opening)
    return words_of(seed)


async def _write_down(labs: OwnedNames, opening: Opening) -> None:
    for _ in range(TRIES):
        known = await labs.read(OPENED_NAME)
        last = openings_in(known.value if known else b"").last
        value = encode(Openings((*last, opening)[-OPENINGS_KEPT_MAX:]))
        with suppress(NameConflictError):
            sequence = known.sequence if known else 0
            await labs.write(OPENED_NAME, value, expected=sequence, fence=0)
            return
    raise RecoveryRefusedError("it cannot be written down that the phrase is read: try again")


def sealed_in(value: bytes) -> Sealed | None:
    """None where there is nothing, or what only a newer node understands."""
    with suppress(WireError):
        return decode_as(Sealed, value) if value else None
    return None


def openings_in(value: bytes) -> Openings:
    """Nothing where it is not understood, and of it what can be told."""
    with suppress(WireError):
        last = decode_as(Openings, value).last if value else ()
        return Openings(tuple(opening for opening in last if opening.is_sound))
    return Openings()
