"""Every removal a node has heard of, and whom they keep out.

A removal counts against a chain of certificates that shows its signer above the one removed. One
that was signed after its signer had been removed counts for nothing. Both are decided from the set
alone, so that nodes which heard the same removals in any order agree.
"""

from datetime import UTC, datetime

import msgspec

from p2p.errors import WireError
from p2p.identity.admission import Admitted, Anchor, Clocks, check_name, check_signer
from p2p.identity.lineage import CertLink, may_remove
from p2p.identity.records import LAB_DOMAIN
from p2p.identity.register.records import NEVER_MS, REMOVAL_DOMAIN, Removal, digest_of, key_of
from p2p.identity.register.room import Room
from p2p.limits import (
    CLOCK_SKEW_MAX_MS,
    PROOFS_KEPT,
    REMOVAL_BYTES_MAX,
    REMOVALS_OF_LABS_MAX,
    REMOVALS_OF_NETWORK_MAX,
    REMOVALS_OF_ONE_PERSON_MAX,
    REMOVALS_OF_PEOPLE_MAX,
    REMOVALS_PER_LAB_MAX,
    REMOVALS_PER_LABS_PEOPLE_MAX,
    REMOVALS_PER_PERSON_MAX,
    REMOVALS_TOLD_MAX,
)
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed, Signer, open_signed


class Removed(msgspec.Struct, frozen=True):
    """A removal that was verified."""

    key: bytes
    sealed: Signed
    subject: str
    name: str
    proof: tuple[CertLink, ...]
    """What the signer stands on; empty for the network's key."""
    closes: bool = False
    """It only closes an invite: those who came with it before may stay."""

    @property
    def at_ms(self) -> int:
        """When it was signed."""
        return self.sealed.sequence

    @property
    def by(self) -> str:
        """What people call the signer."""
        names = [link.name for link in self.proof if link.subject == self.sealed.sender]
        return names[0] if names else "the network's founder"

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{self.name} was removed by {self.by} on {when}"


class Removals:
    """The removals of one network."""

    def __init__(self, anchor: Anchor, verifier: Signer) -> None:
        self._anchor, self._verifier = anchor, verifier
        self._held: dict[bytes, Removed] = {}
        """By key, whether they count or not; each has its place in one of the three rooms."""
        self._by_subject: dict[str, list[Removed]] = {}
        """Those that count, by whom they remove; worked out by `_count_anew`."""
        self._closed: dict[str, list[Removed]] = {}
        """Invites that let nobody in any more, though those who came may stay."""
        self._is_counted = True
        """Whether what counts has been worked out since the last change."""
        self.dropped: list[bytes] = []
        """Keys no longer held; whoever keeps entries on disk empties this."""
        self._proved: dict[tuple[Signed, ...], tuple[CertLink, ...]] = {}
        """Proofs that were checked, and the links in them; emptied at PROOFS_KEPT."""
        root, own = anchor.root, REMOVALS_OF_NETWORK_MAX
        self._of_network = Room(root, own, own, own)
        self._of_labs = Room(root, REMOVALS_OF_LABS_MAX, REMOVALS_PER_LAB_MAX, REMOVALS_PER_LAB_MAX)
        self._of_people = Room(
            root, REMOVALS_OF_PEOPLE_MAX, REMOVALS_PER_LABS_PEOPLE_MAX, REMOVALS_PER_PERSON_MAX,
            REMOVALS_OF_ONE_PERSON_MAX,
        )  # fmt: skip

    # -- reading

    def digest(self) -> bytes:
        """Equal where the same removals are held."""
        return digest_of(self.keys())

    def keys(self) -> list[bytes]:
        """Of all that are held, sorted."""
        return sorted(self._held)

    def told(self) -> list[bytes]:
        """The same as far as they are told at admission, those of labs and the network first."""
        held = self._held.values()
        order = sorted((self._room_of(removed) is self._of_people, removed.key) for removed in held)
        return [key for _, key in order][:REMOVALS_TOLD_MAX]

    def find(self, key: bytes) -> Removed | None:
        """The removal with this key."""
        return self._held.get(key)

    def all(self) -> tuple[Removed, ...]:
        """Every removal that counts, oldest first."""
        self._count_anew()
        counted = [removed for several in self._by_subject.values() for removed in several]
        return tuple(sorted(counted, key=_age))

    def closing(self, who: Admitted, invite: str) -> Removed | None:
        """What closed an invite on which a machine's certificates stand, or None."""
        self._count_anew()
        above = may_remove(who.lineage, invite)
        closings = [
            removed for removed in self._closed.get(invite, ()) if removed.sealed.sender in above
        ]
        return min(closings, key=_age) if closings else None

    def against(self, who: Admitted) -> Removed | None:
        """The removal that keeps a machine out, or None: the oldest, where there are several."""
        self._count_anew()
        removals = self._against(who.lineage)
        return min(removals, key=_age) if removals else None

    def are_out(self, lineage: tuple[CertLink, ...]) -> bool:
        """Whether a lab's key or the network's removed somebody in a chain, and so all of it."""
        self._count_anew()
        labs = {link.subject for link in lineage if link.domain == LAB_DOMAIN}
        above = {self._anchor.root, *labs}
        return any(removed.sealed.sender in above for removed in self._against(lineage))

    # -- learning

    def take(self, sealed: Signed, now_ms: int) -> Removed | None:
        """Hold a removal; None when it is known already or there is no room for it.

        Raises WireError, AdmissionError for one that is no good.
        """
        key = key_of(sealed)
        if key in self._held:
            return None
        removed = self._verified(key, sealed, now_ms)
        room = self._room_of(removed)
        if not self._has_place(room, removed):
            return None
        room.count(sealed.sender, removed.proof)
        self._held[key] = removed
        self._is_counted = False
        return removed

    def _has_place(self, room: Room, removed: Removed) -> bool:
        """Whether it may be held, now or once what counts no more has given way."""
        signer, proof = removed.sealed.sender, removed.proof
        if room.has_place(signer, proof):
            return True
        self._clear(room)
        return room.has_place(signer, proof)

    def _clear(self, room: Room) -> None:
        """Drop what those have signed whom a lab's key or the network's has put out, or somebody
        above them: whom they removed stands on them, and so is out with them."""
        self._count_anew()
        idle = [removed for removed in self._held.values() if self.are_out(removed.proof)]
        for removed in idle:
            if self._room_of(removed) is room:
                room.count(removed.sealed.sender, removed.proof, -1)
                del self._held[removed.key]
                self.dropped.append(removed.key)
                self._is_counted = False

    def _room_of(self, removed: Removed) -> Room:
        """People's removals fill nothing that a lab needs, and labs' nothing of the network's."""
        signer = removed.sealed.sender
        if signer == self._anchor.root:
            return self._of_network
        is_lab = any(link.subject == signer and link.domain == LAB_DOMAIN for link in removed.proof)
        return self._of_labs if is_lab else self._of_people

    def _verified(self, key: bytes, sealed: Signed, now_ms: int) -> Removed:
        if sealed.domain != REMOVAL_DOMAIN or len(encode(sealed)) > REMOVAL_BYTES_MAX:
            raise WireError("that is not a removal")
        if not 0 <= sealed.sequence <= now_ms + CLOCK_SKEW_MAX_MS or sealed.expires_ms != NEVER_MS:
            raise WireError("a removal from the future, or one that ends")
        removal = open_signed(self._verifier, self._anchor.network, REMOVAL_DOMAIN, Removal, sealed)
        check_name("what was removed", removal.name)
        if not 1 <= len(removal.subject) <= 128:
            raise WireError("a removal of nobody")
        proof = self._prove(removal, sealed)
        return Removed(key, sealed, removal.subject, removal.name, proof, removal.closes)

    def _prove(self, removal: Removal, sealed: Signed) -> tuple[CertLink, ...]:
        """What the signer stands on; a proof once checked is not checked again while it lasts."""
        links = self._proved.get(removal.proof)
        begins_ms = max((cert.sequence for cert in removal.proof), default=0)
        ends_ms = min((cert.expires_ms for cert in removal.proof), default=NEVER_MS)
        is_in_time = begins_ms <= sealed.sequence <= ends_ms
        if links and is_in_time and any(link.subject == sealed.sender for link in links):
            return links
        at = Clocks(sealed.sequence)
        links = check_signer(removal.proof, sealed.sender, self._anchor, self._verifier, at)
        if len(self._proved) >= PROOFS_KEPT:
            self._proved.clear()
        self._proved[removal.proof] = links
        return links

    # -- what counts

    def _count_anew(self) -> None:
        """Look at all, oldest first: those of removed signers fall away."""
        if self._is_counted:
            return
        self._is_counted = True
        self._by_subject, self._closed = {}, {}
        for removed in sorted(self._held.values(), key=_age):
            if not any(older.at_ms < removed.at_ms for older in self._against(removed.proof)):
                place = self._closed if removed.closes else self._by_subject
                place.setdefault(removed.subject, []).append(removed)

    def _against(self, lineage: tuple[CertLink, ...]) -> list[Removed]:
        return [
            removed
            for link in lineage
            for removed in self._by_subject.get(link.subject, ())
            if removed.sealed.sender in may_remove(lineage, link.subject)
        ]


def _age(removed: Removed) -> tuple[int, bytes]:
    return removed.at_ms, removed.key
