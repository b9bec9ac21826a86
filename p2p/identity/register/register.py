"""The register of one node: removals and uses, and what they say about a machine."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from p2p.errors import AdmissionError, WireError
from p2p.identity.admission import Admitted, Anchor, UsedInvite
from p2p.identity.lineage import CertLink
from p2p.identity.records import MembershipToken
from p2p.identity.register.records import NEVER_MS, REMOVAL_DOMAIN, USE_DOMAIN, Removal, Use
from p2p.identity.register.removals import Removals, Removed
from p2p.identity.register.uses import Used, Uses, uses_in
from p2p.ids import NetworkId
from p2p.wire.envelope import Signed, Signer, seal

Entry: TypeAlias = Removed | Used


class Register:
    """Takes entries from anywhere, tells what was new, and says who is out."""

    def __init__(self, anchor: Anchor, verifier: Signer) -> None:
        self.removals = Removals(anchor, verifier)
        self.uses = Uses(anchor, verifier, self.removals.are_out)
        self.refused = 0
        """Entries that were no good, since the start."""
        self.changes = 0
        """How many entries were new."""
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
            self.changes += 1
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
        for use in uses_in(who):
            why = self._why_not(use, who)
            if why is not None:
                return why
        return None

    def is_surplus(self, who: Admitted) -> bool:
        """Whether an invite it stands on had been used up before."""
        return any(self.uses.before(use) for use in uses_in(who))

    def _why_not(self, use: UsedInvite, who: Admitted) -> AdmissionError | None:
        """Why somebody who came with this invite is out."""
        name = next((link.name for link in who.lineage if link.subject == use.user), use.user)
        return self._used_up(use, name) or self._closed(use, name, who)

    def _used_up(self, use: UsedInvite, name: str) -> AdmissionError | None:
        before = self.uses.before(use)
        if not before:
            return None
        those = ", ".join(str(earlier) for earlier in before[:3])
        return AdmissionError(
            "used",
            f"the invite {name} came with was for {use.uses}, and was used before, by {those}: "
            "ask for a new invite",
        )

    def _closed(self, use: UsedInvite, name: str, who: Admitted) -> AdmissionError | None:
        closed = self.removals.closing(who, use.invite)
        told = self.uses.of(use)
        if closed is not None and (told is None or told.at_ms > closed.at_ms):
            return AdmissionError(
                "used", f"the invite {name} came with was closed by {closed.by}: ask for a new one"
            )
        return None


def remove(
    signer: Signer,
    network: NetworkId,
    subject: CertLink,
    proof: tuple[Signed, ...],
    now_ms: int,
    *,
    closes: bool = False,
) -> Signed:
    """Sign that `subject` is out; `proof` shows what the signer is.

    With `closes` it is an invite, and only whoever comes with it from now on is out.
    """
    name = subject.name or subject.subject
    record = Removal(subject.subject, name, proof, closes)
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
