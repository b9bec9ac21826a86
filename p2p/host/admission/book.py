"""The book of who is who: peers that were admitted, and which of them would be refused today."""

import statistics
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec.structs import replace

from p2p.identity.admission import Admitted
from p2p.identity.register.register import Register
from p2p.ids import PeerId, PersonId
from p2p.limits import ADMITTED_MAX, CLOCK_SKEW_MAX_MS


def nobody_revoked() -> Collection[str]:
    """No id is revoked."""
    return ()


class AdmissionBook(msgspec.Struct):
    """Who the peers are that were admitted, newest last, bounded."""

    register: Register
    """Who was removed, and which invites were used by whom."""
    revoked: Callable[[], Collection[str]] = nobody_revoked
    """Ids that this machine's owner trusts no longer, whatever others say."""
    trouble: Callable[[], str] = lambda: ""
    """Why those ids cannot be read now; empty while they can."""
    clock_ms: Callable[[], int] = lambda: 0
    """Our wall clock minus the steady one: changes when somebody sets the clock."""
    _admitted: dict[PeerId, Admitted] = msgspec.field(default_factory=dict)
    """The one admitted last at the end; at most ADMITTED_MAX."""
    _clocks_ms: dict[PeerId, int] = msgspec.field(default_factory=dict)
    """What that was when a peer was admitted."""
    _heard_of: dict[PeerId, Admitted] = msgspec.field(default_factory=dict)
    """Whose tokens others brought; of use until they come themselves."""
    _removed: tuple[object, Mapping[PeerId, str]] | None = None
    """What `removed` found, and from what."""
    _changes: int = 0
    """How often somebody was entered or heard of."""

    def admitted(self, peer: PeerId) -> Admitted | None:
        """Who the peer proved to be when it was last admitted, or None."""
        return self._admitted.get(peer)

    def everybody(self) -> Mapping[PeerId, Admitted]:
        """All that were admitted or heard of, and are not forgotten."""
        return MappingProxyType({**self._heard_of, **self._admitted})

    def renew(self, who: Admitted) -> None:
        """The same machine shows newer certificates; what its clock was stays as it told."""
        before = self._admitted.get(who.peer)
        if before is not None:
            self._changes += 1
            self._admitted[who.peer] = replace(who, skew_ms=before.skew_ms)

    def hear_of(self, who: Admitted) -> None:
        """Remember whom a token proves that others brought."""
        self._changes += 1
        self._heard_of.pop(who.peer, None)
        self._heard_of[who.peer] = who
        if len(self._heard_of) > ADMITTED_MAX:
            del self._heard_of[next(iter(self._heard_of))]

    def would_misdate(self, peers: Iterable[PeerId], but_for: str = "") -> bool:
        """Whether most people have another time: what we sign now would bear a date of ours alone.

        This is about dates that others are to believe, and asks nobody. Whether our time may end
        what others keep here is another question, put to machines anew each time (storage.clocks).
        As their machines told when they were admitted, and as our own clock was set since. Each
        person has one voice, however many machines; `but_for` (of a machine, person or lab that is
        to be removed) and those who stand on it have none.
        """
        now_ms = self.clock_ms()
        skews: dict[PersonId, list[int]] = {}
        for peer in peers:
            who = self._admitted.get(peer)
            if who is not None and all(link.subject != but_for for link in who.lineage):
                skew_ms = who.skew_ms - (now_ms - self._clocks_ms.get(peer, now_ms))
                skews.setdefault(who.person, []).append(skew_ms)
        voices = [statistics.median(several) for several in skews.values()]
        return bool(voices) and abs(statistics.median(voices)) > CLOCK_SKEW_MAX_MS

    def enter(self, who: Admitted) -> None:
        """Remember an admitted peer; the one admitted longest ago is forgotten when full."""
        self._changes += 1
        self._clocks_ms[who.peer] = self.clock_ms()
        self._admitted.pop(who.peer, None)
        self._admitted[who.peer] = who
        if len(self._admitted) > ADMITTED_MAX:
            oldest = next(iter(self._admitted))
            del self._admitted[oldest], self._clocks_ms[oldest]

    def lapsed(self, now_ms: int) -> Mapping[PeerId, str]:
        """Peers whose certificates have ended, and when: they may come again with new ones."""
        return {
            peer: f"its membership ended {(now_ms - who.expires_ms) // 1000} s ago"
            for peer, who in self._admitted.items()
            if now_ms > who.expires_ms + CLOCK_SKEW_MAX_MS
        }

    def removed(self) -> Mapping[PeerId, str]:
        """Peers that are out for good, and why: removed, or come with an invite used before.

        The same mapping as before while nothing has changed.
        """
        revoked = self.revoked()
        basis = (self._changes, self.register.changes, tuple(sorted(revoked)))
        if self._removed is not None and self._removed[0] == basis:
            return self._removed[1]
        reasons = {peer: self._why_out(who, revoked) for peer, who in self.everybody().items()}
        removed = {peer: why for peer, why in reasons.items() if why is not None}
        self._removed = (basis, removed)
        return removed

    def _why_out(self, who: Admitted, revoked: Collection[str]) -> str | None:
        if any(subject in revoked for subject in ids_of(who)):
            return _BY_US
        why = self.register.why_out(who)
        return None if why is None else why.detail


def ids_of(who: Admitted) -> tuple[str, ...]:
    """Whatever can be revoked of a machine."""
    return tuple(dict.fromkeys(link.subject for link in who.lineage))


_BY_US: Final = "it is in this machine's revoked.txt"
