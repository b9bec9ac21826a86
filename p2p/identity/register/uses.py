"""Who came with which invite, in the order in which they were let in.

The first as many as the invite was for may stay; whoever comes after them stays out. Two machines
that let somebody in on two sides of a cut both witness it, and afterwards the earlier one counts.
Of one user only the earliest witness is kept, so that all nodes come to hold the same.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from p2p.errors import AdmissionError, WireError
from p2p.identity.admission import Admitted, Anchor, Clocks, UsedInvite, check_token
from p2p.identity.lineage import CertLink, link_of
from p2p.identity.records import CERTIFICATES, INVITE_DOMAIN, MachineCert
from p2p.identity.register.records import NEVER_MS, USE_DOMAIN, Use, digest_of, key_of
from p2p.identity.register.room import Room
from p2p.ids import PeerId
from p2p.limits import (
    CLOCK_SKEW_MAX_MS,
    USE_BYTES_MAX,
    USES_MAX,
    USES_PER_LAB_MAX,
    USES_PER_PERSON_MAX,
)
from p2p.wire.codec import Record, decode_as, encode
from p2p.wire.envelope import Signed, Signer, open_signed


class Used(msgspec.Struct, frozen=True):
    """A use that was verified."""

    key: bytes
    sealed: Signed
    invite: str
    user: str
    name: str
    """Of the user, as its certificate says."""
    ends_ms: int
    """When the certificate ends, and the use with it."""
    lineage: tuple[CertLink, ...] = ()
    """What the witness stands on."""
    owner: str = ""
    """Whose machine the user is, where it came alone: with an invite for one's own machines."""

    @property
    def at_ms(self) -> int:
        """When the witness let the user in."""
        return self.sealed.sequence

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{self.name} on {when}"


class Uses:
    """The uses of invites of one network."""

    def __init__(
        self,
        anchor: Anchor,
        verifier: Signer,
        are_out: Callable[[tuple[CertLink, ...]], bool] = lambda _lineage: False,
    ) -> None:
        """`are_out` tells whether a lab or the network removed somebody in a witness's chain."""
        self._anchor, self._verifier, self._are_out = anchor, verifier, are_out
        self._held: dict[bytes, Used] = {}
        """By key; each has its place in `_room`."""
        self._of_invite: dict[str, dict[str, Used]] = {}
        """The same by invite and user: one, the oldest, for each; no invite without any."""
        self._room = Room(anchor.root, USES_MAX, USES_PER_LAB_MAX, USES_PER_PERSON_MAX)
        self.dropped: list[bytes] = []
        """Keys no longer held; whoever keeps entries on disk empties this."""

    # -- reading

    def digest(self) -> bytes:
        """Equal where the same uses are held."""
        return digest_of(self.keys())

    def keys(self) -> list[bytes]:
        """Of all that are held, sorted."""
        return sorted(self._held)

    def find(self, key: bytes) -> Used | None:
        """The use with this key."""
        return self._held.get(key)

    def of(self, use: UsedInvite) -> Used | None:
        """What is known of this use."""
        return self._of_invite.get(use.invite, {}).get(use.user)

    def before(self, use: UsedInvite) -> tuple[Used, ...]:
        """Those who used the invite up before this user came; empty when there was room."""
        users = sorted(self._of_invite.get(use.invite, {}).values(), key=_age)
        first = users[: use.uses]
        if len(first) < use.uses or any(used.user == use.user for used in first):
            return ()
        return tuple(first)

    def machines_of(self, owner: str) -> list[PeerId]:
        """Machines that came with an invite of a person for machines of their own."""
        return [PeerId(used.user) for used in self._held.values() if owner and used.owner == owner]

    # -- learning

    def take(self, sealed: Signed, now_ms: int) -> Used | None:
        """Hold a use; None when it, or an earlier one of its user, is known, or there is no room.

        Raises WireError, AdmissionError for one that is no good.
        """
        key = key_of(sealed)
        if key in self._held:
            return None
        used = self._verified(key, sealed, now_ms)
        held = self._of_invite.get(used.invite, {}).get(used.user)
        if used.ends_ms + CLOCK_SKEW_MAX_MS < now_ms or (held and _age(held) <= _age(used)):
            return None
        if not self._make_way(used, held):
            return None
        self._room.count(sealed.sender, used.lineage)
        self._of_invite.setdefault(used.invite, {})[used.user] = self._held[key] = used
        return used

    def _make_way(self, used: Used, held: Used | None) -> bool:
        """The later use of the same user gives way, or else the words of witnesses who are out."""
        if held is not None:
            self._drop(held)
            return True
        signer, lineage = used.sealed.sender, used.lineage
        if self._room.has_place(signer, lineage):
            return True
        self._forget_all([other for other in self._held.values() if self._are_out(other.lineage)])
        return self._room.has_place(signer, lineage)

    def forget(self, now_ms: int) -> None:
        """Drop those whose certificates have ended."""
        self._forget_all(
            [used for used in self._held.values() if used.ends_ms + CLOCK_SKEW_MAX_MS < now_ms]
        )

    def _forget_all(self, old: list[Used]) -> None:
        for used in old:
            self._drop(used)
            del self._of_invite[used.invite][used.user]
            if not self._of_invite[used.invite]:
                del self._of_invite[used.invite]

    def _drop(self, used: Used) -> None:
        del self._held[used.key]
        self._room.count(used.sealed.sender, used.lineage, -1)
        self.dropped.append(used.key)

    def _verified(self, key: bytes, sealed: Signed, now_ms: int) -> Used:
        use = self._opened(sealed, now_ms)
        at = Clocks(sealed.sequence)
        witness = check_token(use.witness, sealed.sender, self._anchor, self._verifier, at)
        certificate = use.certificate
        record = self._let_in_by(certificate)
        link = link_of(record, certificate)
        if sealed.sequence < certificate.sequence - CLOCK_SKEW_MAX_MS:
            raise AdmissionError("clock", "nobody was let in before their certificate was made")
        if link.subject in (witness.peer, witness.person, witness.lab):
            raise AdmissionError("signature", "nobody is a witness for themselves")
        return Used(
            key, sealed, certificate.sender, link.subject, link.name, certificate.expires_ms,
            witness.lineage, record.person if isinstance(record, MachineCert) else "",
        )  # fmt: skip

    def _opened(self, sealed: Signed, now_ms: int) -> Use:
        """What the witness says, if it can be from now or before."""
        if sealed.domain != USE_DOMAIN or len(encode(sealed)) > USE_BYTES_MAX:
            raise WireError("that is not a use of an invite")
        if not 0 <= sealed.sequence <= now_ms + CLOCK_SKEW_MAX_MS or sealed.expires_ms != NEVER_MS:
            raise WireError("a use from the future, or one that ends")
        return open_signed(self._verifier, self._anchor.network, USE_DOMAIN, Use, sealed)

    def _let_in_by(self, certificate: Signed) -> Record:
        """What the certificate says that the invite's key signed for its user."""
        kind = CERTIFICATES.get(certificate.domain)
        if kind is None or certificate.domain == INVITE_DOMAIN:
            raise AdmissionError("malformed", "nobody is let in by that certificate")
        network = self._anchor.network
        return open_signed(self._verifier, network, certificate.domain, kind, certificate)


def uses_in(who: Admitted) -> tuple[UsedInvite, ...]:
    """Every invite on which a machine stands, and who came with it: it, its person, those above.

    The last one may be what a renewed certificate says, whose invite signed nothing of it.
    """
    invites = {link.subject: link for link in who.lineage if link.domain == INVITE_DOMAIN}
    uses = [
        UsedInvite(PeerId(link.signer), invites[link.signer].uses, link.subject)
        for link in who.lineage
        if link.signer in invites
    ]
    if who.came_with is not None and who.came_with not in uses:
        uses.append(who.came_with)
    return tuple(uses)


def certificate_of(use: UsedInvite, certificates: tuple[Signed, ...]) -> Signed | None:
    """The certificate in a machine's token by which the invite let its user in."""
    signed = (cert for cert in certificates if cert.sender == use.invite)
    return next((cert for cert in signed if _subject(cert) == use.user), None)


def _subject(sealed: Signed) -> str:
    record = decode_as(CERTIFICATES[sealed.domain], sealed.payload)
    return link_of(record, sealed).subject


def _age(used: Used) -> tuple[int, bytes]:
    return used.at_ms, used.key
