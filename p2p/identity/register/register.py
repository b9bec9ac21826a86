"""The register of one node: removals and uses, and what they say about a machine."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from p2p.errors import AdmissionError, WireError
from p2p.identity.admission import Admitted, Anchor
from p2p.identity.lineage import Link
from p2p.identity.records import MembershipToken
from p2p.identity.register.records import NEVER_MS, REMOVAL_DOMAIN, USE_DOMAIN, Removal, Use
from p2p.identity.register.removals import Removals, Removed
from p2p.identity.register.uses import Used, Uses
from p2p.ids import NetworkId
from p2p.wire.envelope import Signed, Signer, seal

Entry: TypeAlias = Removed | Used


class Register:
    """Takes entries from anywhere, tells what was new, and says who is out."""

    def __init__(self, anchor: Anchor, verifier: Signer) -> None:
        self.removals = Removals(anchor, verifier)
        self.uses = Uses(anchor, verifier)
        self.refused = 0
        """Entries that were no good, since the start."""
        self.listeners: list[Callable[[Entry], None]] = []
        """Told of every new entry; must not block."""

    def take(self, sealed: Signed, now_ms: int) -> Entry | None:
        """Hold one entry, if it is good and new. Never raises: a bad one is counted."""
        kinds = {REMOVAL_DOMAIN: self.removals.take, USE_DOMAIN: self.uses.take}
        take = kinds.get(sealed.domain)
        try:
            entry = None if take is None else take(sealed, now_ms)
        except (AdmissionError, WireError):
            self.refused += 1
            return None
        if entry is not None:
            for listener in self.listeners:
                listener(entry)
        return entry

    def take_all(self, entries: Iterable[Signed], now_ms: int) -> None:
        """The same for many."""
        for sealed in entries:
            self.take(sealed, now_ms)

    def find(self, key: bytes) -> Entry | None:
        """The entry with this key."""
        return self.removals.find(key) or self.uses.find(key)

    def why_out(self, who: Admitted) -> AdmissionError | None:
        """Why a machine with a good token is not let in, or None."""
        removed = self.removals.against(who)
        if removed is not None:
            return AdmissionError("revoked", str(removed))
        before = self.uses.before(who)
        if before and who.came_with is not None:
            those = ", ".join(str(one) for one in before[:3])
            return AdmissionError(
                "used",
                f"the invite {who.member_name} came with was for {who.came_with.uses}, and was "
                f"used before, by {those}: ask for a new invite",
            )
        return None


def remove(
    signer: Signer,
    network: NetworkId,
    subject: Link,
    proof: tuple[Signed, ...],
    now_ms: int,
) -> Signed:
    """Sign that `subject` is out; `proof` shows what the signer is."""
    name = subject.name or subject.subject
    record = Removal(subject.subject, name, proof)
    return seal(signer, network, REMOVAL_DOMAIN, record, sequence=now_ms, expires_ms=NEVER_MS)


def witness(
    signer: Signer,
    network: NetworkId,
    token: MembershipToken,
    certificate: Signed,
    now_ms: int,
) -> Signed:
    """Sign that the user in `certificate` was let in now."""
    record = Use(certificate, token)
    return seal(signer, network, USE_DOMAIN, record, sequence=now_ms, expires_ms=NEVER_MS)
