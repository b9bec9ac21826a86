"""Which members keep a task: chosen alike by everybody who sees the same members."""

from collections.abc import Sequence

import msgspec

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.market.guardians.records import GuardRecord, rank
from swarmnode.tasks.secrets.wants import may_keep


class KeeperRoster:
    """The members as this machine sees them."""

    def __init__(self, me: PeerId, guardians: int) -> None:
        self._me, self._guardians = me, guardians
        self._members: dict[PeerId, tuple[Liveness, LabId]] = {}
        """Everybody that membership knows, us included: how they stand, and their lab."""
        self._with_secrets: set[PeerId] = set()
        """Who says that it knows secrets: no other is made a keeper of a task that has some."""

    def stands(self, peer: PeerId, liveness: Liveness | None, lab: LabId) -> None:
        """What membership thinks of a machine; None when it has forgotten it."""
        if liveness is None:
            self._members.pop(peer, None)
        else:
            self._members[peer] = (liveness, lab)

    def knows_secrets(self, peer: PeerId, *, knows: bool) -> None:
        """What a machine says of its version; one of before would hand the task on without them."""
        if knows:
            self._with_secrets.add(peer)
        else:
            self._with_secrets.discard(peer)

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._members

    def alive(self) -> list[PeerId]:
        """Everybody else who can be asked."""
        living = (p for p, (how, _) in self._members.items() if how is Liveness.ALIVE)
        return sorted(peer for peer in living if peer != self._me)

    def stays(self, peer: PeerId) -> bool:
        """It is not gone, as far as is known."""
        known = self._members.get(peer)
        return known is not None and known[0] in (Liveness.ALIVE, Liveness.SUSPECT)

    def without_left(self, record: GuardRecord) -> GuardRecord:
        """Without those who said goodbye: they let nothing go on by themselves."""
        gone = {p for p in record.keepers if self._members.get(p, (None,))[0] is Liveness.LEFT}
        roster, before = (
            tuple(peer for peer in keepers if peer not in gone)
            for keepers in (record.roster, record.before)
        )
        return msgspec.structs.replace(record, roster=roster, before=before)

    def is_staffed(self, record: GuardRecord) -> bool:
        """Nothing is to be changed: quick, as it is asked about every task every few seconds."""
        has_submitter = record.submitter in record.roster or not self.stays(record.submitter)
        others = [peer for peer in record.roster if peer != self._me]
        is_full = len(others) >= self._guardians and self._me in record.roster
        return is_full and has_submitter and all(self.stays(peer) for peer in others)

    def wanted(self, record: GuardRecord) -> tuple[PeerId, ...]:
        """We, the submitter while it lives, and whoever is first of the others, to be enough."""
        first = [self._me]
        if record.submitter != self._me and self.stays(record.submitter):
            first.append(record.submitter)
        stay = [peer for peer in record.roster if self.stays(peer)]
        wanted = dict.fromkeys((*first, *stay, *self._in_order(record)))
        chosen = list(wanted)[: 1 + self._guardians]
        # A pool too small to replace a dead keeper keeps it: fewer would be no majority of it.
        for peer in record.roster:
            if len(chosen) < len(record.roster) and peer not in chosen and self._is_known(peer):
                chosen.append(peer)
        return tuple(sorted(chosen))

    def _in_order(self, record: GuardRecord) -> list[PeerId]:
        """Others that live: those of our lab first, each by its rank for the task."""
        mine = self._members.get(self._me, (Liveness.ALIVE, LabId("")))[1]
        spec = record.task_record.spec
        others = [
            peer
            for peer, (liveness, lab) in self._members.items()
            if liveness is Liveness.ALIVE
            and peer not in (self._me, record.submitter)
            and (not spec.secrets or self._may_keep(peer, spec.secret_to, lab, mine))
        ]
        return sorted(others, key=lambda p: (self._members[p][1] != mine, rank(record.task, p)))

    def _may_keep(self, peer: PeerId, secret_to: Sequence[str], lab: LabId, mine: LabId) -> bool:
        return peer in self._with_secrets and may_keep(secret_to, lab, mine)

    def _is_known(self, peer: PeerId) -> bool:
        known = self._members.get(peer)
        return known is not None and known[0] is not Liveness.LEFT
