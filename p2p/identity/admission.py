"""Does this machine belong to our network? Checks a token; decides, sends nothing.

Every certificate must be signed by somebody whom an earlier one in the same token empowered:

    certificate  signed by
    lab          network key | invite key with new_lab | itself, in an open network
    invite       network key (new_lab) | lab key | person with can_invite | person, for own machines
    person       lab key | invite key of that lab that names no owner
    machine      lab key | its owner's key | invite key that names its owner

So nobody can put a machine under another person's name: that takes the person's key or the lab's.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from p2p.errors import AdmissionError, WireError
from p2p.identity.lineage import CertLink, link_of, subject_of
from p2p.identity.records import (
    CERTIFICATES,
    INVITE_DOMAIN,
    LAB_DOMAIN,
    MACHINE_DOMAIN,
    PERSON_DOMAIN,
    InviteCert,
    LabCert,
    MachineCert,
    MembershipToken,
    PersonCert,
)
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.limits import (
    CERTIFICATE_BYTES_MAX,
    CERTIFICATES_MAX,
    CLOCK_SKEW_MAX_MS,
    NAME_CHARS_MAX,
    ROLES_MAX,
    WALL_MS_MAX,
)
from p2p.wire.codec import Record, decode_as
from p2p.wire.envelope import Signed, Signer, open_signed


class Anchor(msgspec.Struct, frozen=True):
    """What a node trusts from the start: its network."""

    network: NetworkId
    root: PeerId
    """The network key, as a peer id."""
    is_open: bool = False
    """In an open network a lab may certify itself."""


class Admitted(msgspec.Struct, frozen=True):
    """Who a peer has proved to be."""

    peer: PeerId
    lab: LabId
    lab_name: str
    person: PersonId
    person_name: str
    name: str
    """Of the machine."""
    site: str
    roles: tuple[str, ...]
    can_invite: bool
    """Its owner may invite others into the lab."""
    expires_ms: int
    """When the first certificate of the chain ends, wall-clock milliseconds since 1970."""
    came_with: "UsedInvite | None" = None
    skew_ms: int = 0
    """Its wall clock minus ours when it was admitted."""
    lineage: tuple[CertLink, ...] = ()
    """Its certificates, in the order they build on one another."""


class UsedInvite(msgspec.Struct, frozen=True):
    """The invite by which a machine, person or lab came in."""

    invite: PeerId
    uses: int
    """How many it was meant for."""
    user: str
    """The id that used it: of a machine, a person or a lab."""


class Clocks(msgspec.Struct, frozen=True):
    """Our wall clock, and the peer's where it told us (milliseconds since 1970)."""

    now_ms: int
    peer_ms: int | None = None

    def skew_ms(self) -> int:
        """The peer's clock minus ours; 0 when it is not known."""
        return 0 if self.peer_ms is None else self.peer_ms - self.now_ms


def check_token(
    token: MembershipToken,
    peer: PeerId,
    anchor: Anchor,
    verifier: Signer,
    clocks: Clocks,
    revoked: Collection[str] = (),
) -> Admitted:
    """Verify that the token proves `peer` to be a machine of the network, and say whose.

    Raises AdmissionError. Costs one signature check per certificate; what needs none is refused
    first. `revoked` holds ids of machines, people, labs and invites that are no longer trusted.
    """
    _check_outline(token, peer, anchor)
    return _walked(token.certificates, anchor, verifier, clocks, revoked).admitted(clocks)


def check_invite_chain(
    certificates: tuple[Signed, ...], anchor: Anchor, verifier: Signer, clocks: Clocks
) -> InviteCert:
    """Verify that the certificates end in a valid invite of the network; return it.

    Raises AdmissionError.
    """
    if not certificates or len(certificates) >= CERTIFICATES_MAX:
        raise AdmissionError("malformed", f"the invite holds {len(certificates)} certificates")
    for sealed in certificates:
        _check_fields(sealed, anchor)
    walk = _walked(certificates, anchor, verifier, clocks)
    invite = next(reversed(walk.invites.values()), None)
    if invite is None or certificates[-1].domain != INVITE_DOMAIN:
        raise AdmissionError("signature", "the last certificate is not an invite")
    return invite


def check_signer(
    certificates: tuple[Signed, ...], signer: str, anchor: Anchor, verifier: Signer, clocks: Clocks
) -> tuple[CertLink, ...]:
    """Verify that `signer` is the network's key, or a lab or person by these certificates.

    Returns the certificates' links. Raises AdmissionError.
    """
    if len(certificates) >= CERTIFICATES_MAX:
        raise AdmissionError("malformed", f"a proof of {len(certificates)} certificates")
    for sealed in certificates:
        _check_fields(sealed, anchor)
    walk = _walked(certificates, anchor, verifier, clocks)
    is_lab = walk.lab is not None and walk.lab.lab == signer
    _demand(signer == anchor.root or is_lab or signer in walk.persons, f"{signer} proves nothing")
    return tuple(walk.lineage)


def _walked(
    certificates: tuple[Signed, ...],
    anchor: Anchor,
    verifier: Signer,
    clocks: Clocks,
    revoked: Collection[str] = (),
) -> "_Chain":
    """All of them, each checked against those before it."""
    walk = _Chain(anchor)
    for sealed in certificates:
        _check_time(sealed, clocks)
        walk.add(sealed, verifier, revoked)
    return walk


def check_name(what: str, name: str) -> None:
    """Raise AdmissionError unless a person can be shown this name."""
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable() or name != name.strip():
        raise AdmissionError(
            "malformed",
            f"{what} {json.dumps(name[:80])} must be 1-{NAME_CHARS_MAX} printable characters",
        )


def _check_outline(token: MembershipToken, peer: PeerId, anchor: Anchor) -> None:
    """Everything that needs no signature check."""
    certificates = token.certificates
    if not 1 <= len(certificates) <= CERTIFICATES_MAX:
        raise AdmissionError("malformed", f"the token holds {len(certificates)} certificates")
    for sealed in certificates:
        _check_fields(sealed, anchor)
    last = certificates[-1]
    if last.domain != MACHINE_DOMAIN or _machine_in(last) != peer:
        raise AdmissionError("signature", f"the token is not for the machine {peer}")


def _machine_in(sealed: Signed) -> PeerId:
    try:
        return decode_as(MachineCert, sealed.payload).peer
    except WireError as exc:
        raise AdmissionError("malformed", str(exc)) from exc


def _check_fields(sealed: Signed, anchor: Anchor) -> None:
    if sealed.network != anchor.network:
        raise AdmissionError("network", f"the token is for another network than {anchor.network}")
    if sealed.domain not in CERTIFICATES or len(sealed.payload) > CERTIFICATE_BYTES_MAX:
        raise AdmissionError("malformed", "the token holds something that is not a certificate")
    if not 0 <= sealed.sequence <= sealed.expires_ms <= WALL_MS_MAX:
        raise AdmissionError("malformed", "a certificate's times make no sense")
    _check_id(sealed.sender)


def _check_id(text: str) -> None:
    if not 1 <= len(text) <= NAME_CHARS_MAX or not text.isascii() or not text.isprintable():
        raise AdmissionError("malformed", "a certificate holds something that is not an id")


def _check_time(sealed: Signed, clocks: Clocks) -> None:
    early_ms = sealed.sequence - clocks.now_ms
    late_ms = clocks.now_ms - sealed.expires_ms
    if early_ms <= CLOCK_SKEW_MAX_MS and late_ms <= CLOCK_SKEW_MAX_MS:
        return
    what = CERTIFICATES[sealed.domain].__name__ if sealed.domain in CERTIFICATES else "record"
    when = f"ended {late_ms // 1000} s ago" if late_ms > 0 else f"begins in {early_ms // 1000} s"
    skew_ms = clocks.skew_ms()
    if abs(skew_ms) > CLOCK_SKEW_MAX_MS:
        raise AdmissionError(
            "clock",
            f"{what} {when}, and the two clocks differ by {abs(skew_ms) // 1000} s: set them",
        )
    remedy = "get a new invite" if late_ms > 0 else "a clock is wrong, here or where it was signed"
    raise AdmissionError("expired", f"{what} {when}: {remedy}")


class _Chain(msgspec.Struct):
    """Who has been empowered so far, certificate by certificate."""

    anchor: Anchor
    lab: LabCert | None = None
    persons: dict[str, PersonCert] = msgspec.field(default_factory=dict)
    invites: dict[str, InviteCert] = msgspec.field(default_factory=dict)
    machine: MachineCert | None = None
    lineage: list[CertLink] = msgspec.field(default_factory=list)
    expires_ms: int = WALL_MS_MAX

    def add(self, sealed: Signed, verifier: Signer, revoked: Collection[str]) -> None:
        """Check one certificate against those before it, and take it in."""
        record = self._opened(sealed, verifier)
        subject = subject_of(record)
        _check_id(subject)
        for party in (str(sealed.sender), subject):
            if party in revoked:
                raise AdmissionError("revoked", f"{party} has been revoked")
        _ADD[sealed.domain](self, record, sealed)
        self.lineage.append(link_of(record, sealed))
        self.expires_ms = min(self.expires_ms, sealed.expires_ms)

    def _opened(self, sealed: Signed, verifier: Signer) -> Record:
        """What it says, if its signer said it and one may stand there."""
        kind = CERTIFICATES.get(sealed.domain)
        if kind is None or self.machine is not None:
            raise AdmissionError("malformed", "a certificate stands where none may")
        try:
            return open_signed(verifier, self.anchor.network, sealed.domain, kind, sealed)
        except WireError as exc:
            raise AdmissionError("signature", str(exc)) from exc

    def add_lab(self, record: Record, sealed: Signed) -> None:
        assert isinstance(record, LabCert)
        by_invite = self.invites.get(sealed.sender)
        _demand(self.lab is None, "a token names one lab")
        _demand(
            sealed.sender == self.anchor.root
            or (by_invite is not None and by_invite.new_lab)
            or (self.anchor.is_open and sealed.sender == str(record.lab)),
            f"{sealed.sender} may not bring a lab into the network",
        )
        check_name("the lab's name", record.name)
        self.lab = record

    def add_invite(self, record: Record, sealed: Signed) -> None:
        assert isinstance(record, InviteCert)
        self._join_in_time(record, sealed)
        if sealed.sender == self.anchor.root:
            fits = record.new_lab and not record.lab and not record.owner
        else:
            fits = not record.new_lab and self._is_our_lab(record.lab)
            fits = fits and self._may_invite(sealed.sender, record)
        _demand(fits, f"{sealed.sender} may not give such an invite")
        self.invites[record.invite] = record

    def _join_in_time(self, record: InviteCert, sealed: Signed) -> None:
        _demand(record.join_by_ms <= sealed.expires_ms, "an invite is longer than what it grants")
        _demand(record.uses >= 1, "an invite is for at least one use")

    def _may_invite(self, sender: str, record: InviteCert) -> bool:
        if self._is_lab_key(sender):
            return True
        person = self.persons.get(sender)
        if person is None:
            return False
        return record.owner == sender if record.owner else person.can_invite

    def add_person(self, record: Record, sealed: Signed) -> None:
        assert isinstance(record, PersonCert)
        _demand(self._is_our_lab(record.lab), "a member is of another lab than the token's")
        _demand(self._may_enrol(record, sealed), f"{sealed.sender} may not enrol such a member")
        check_name("the member's name", record.name)
        self.persons[record.person] = record

    def _may_enrol(self, record: PersonCert, sealed: Signed) -> bool:
        if self._is_lab_key(sealed.sender):
            return True
        invite = self.invites.get(sealed.sender)
        if invite is None or invite.lab != record.lab or invite.owner:
            return False
        return (invite.can_invite or not record.can_invite) and _used_in_time(invite, sealed)

    def add_machine(self, record: Record, sealed: Signed) -> None:
        assert isinstance(record, MachineCert)
        _demand(self._is_our_lab(record.lab), "the machine is of another lab than the token's")
        _demand(record.person in self.persons, "the machine's owner is not in the token")
        _demand(self._may_add(record, sealed), f"{sealed.sender} may not add such a machine")
        check_name("the machine's name", record.name)
        if record.site:
            check_name("the machine's site", record.site)
        _demand(len(record.roles) <= ROLES_MAX, f"a machine has at most {ROLES_MAX} roles")
        for role in record.roles:
            check_name("a role", role)
        self.machine = record

    def _may_add(self, record: MachineCert, sealed: Signed) -> bool:
        if self._is_lab_key(sealed.sender) or sealed.sender == str(record.person):
            return True
        invite = self.invites.get(sealed.sender)
        if invite is None or invite.lab != record.lab:
            return False
        return invite.owner == record.person and _used_in_time(invite, sealed)

    def _is_lab_key(self, sender: str) -> bool:
        return self.lab is not None and self.lab.lab == sender

    def _is_our_lab(self, lab: LabId) -> bool:
        return self.lab is not None and self.lab.lab == lab

    def admitted(self, clocks: Clocks) -> Admitted:
        """What the whole token proves."""
        if self.lab is None or self.machine is None:
            raise AdmissionError("malformed", "the token names no lab or no machine")
        machine, person = self.machine, self.persons[self.machine.person]
        return Admitted(
            peer=machine.peer,
            lab=self.lab.lab,
            lab_name=self.lab.name,
            person=person.person,
            person_name=person.name,
            name=machine.name,
            site=machine.site,
            roles=machine.roles,
            can_invite=person.can_invite,
            expires_ms=self.expires_ms,
            came_with=self._came_with(machine.peer, person.person, self.lab.lab),
            skew_ms=clocks.skew_ms(),
            lineage=tuple(self.lineage),
        )

    def _came_with(self, *users: str) -> UsedInvite | None:
        """The last invite that let one of these in, the nearest to the machine first.

        A renewed certificate names the invite, as another key has signed it since.
        """
        signer_of = {link.subject: link.signer for link in self.lineage}
        for user in users:
            invite = self.invites.get(signer_of[user])
            if invite is not None:
                return UsedInvite(invite.invite, invite.uses, user)
            renewed = self.persons.get(user)
            if renewed is not None and renewed.invite:
                return UsedInvite(renewed.invite, renewed.invite_uses, user)
        return None


def _used_in_time(invite: InviteCert, sealed: Signed) -> bool:
    return sealed.sequence <= invite.join_by_ms + CLOCK_SKEW_MAX_MS


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AdmissionError("signature", otherwise)


_ADD: Final[Mapping[str, Callable[[_Chain, Record, Signed], None]]] = {
    LAB_DOMAIN: _Chain.add_lab,
    INVITE_DOMAIN: _Chain.add_invite,
    PERSON_DOMAIN: _Chain.add_person,
    MACHINE_DOMAIN: _Chain.add_machine,
}
