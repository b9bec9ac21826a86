"""Who signs what when a network is founded, an invite is given, and an invite is used.

No server signs anything: an invite carries a key of its own, certified by somebody who may invite,
and the newcomer signs its papers with it. Any member can check them, whoever is online. How often
an invite is used is counted by those who let newcomers in (`p2p.identity.register`).
"""

from typing import Final

import msgspec

from p2p.errors import AdmissionError, IdentityError, NotEntitledError
from p2p.identity.admission import Admitted, Anchor, Clocks, check_invite_chain, check_token
from p2p.identity.keys import KeySigner
from p2p.identity.lineage import subject_of
from p2p.identity.records import (
    CERTIFICATES,
    PERSON_DOMAIN,
    InviteCert,
    LabCert,
    MachineCert,
    MembershipToken,
    PersonCert,
    certify,
)
from p2p.ids import LabId, PeerId, PersonId
from p2p.limits import CERTIFICATES_MAX
from p2p.wire.codec import decode_as
from p2p.wire.envelope import Signed, Signer

DAY_MS: Final = 86_400_000
FOUNDER_VALID_MS: Final = 3650 * DAY_MS
"""What a founder certifies for itself: ten years; the keys lie beside the certificates anyway."""


class Names(msgspec.Struct, frozen=True):
    """What people call a machine, its owner and their lab."""

    machine: str
    person: str
    lab: str
    site: str = ""
    roles: tuple[str, ...] = ("compute", "storage")


class Grant(msgspec.Struct, frozen=True):
    """What an invite is to allow."""

    uses: int = 1
    join_within_ms: int = 7 * DAY_MS
    valid_ms: int = 365 * DAY_MS
    """How long what was granted holds, from now on; afterwards a new invite is needed."""
    can_invite: bool = False
    new_lab: bool = False
    own_machine: bool = False
    """For another machine of the inviting person."""


class Keys(msgspec.Struct, frozen=True):
    """The keys a machine holds; only its own is always there."""

    machine: KeySigner
    person: KeySigner | None = None
    lab: KeySigner | None = None
    network: KeySigner | None = None


def found(anchor: Anchor, keys: Keys, names: Names, now_ms: int) -> MembershipToken:
    """The token of a network's first machine, or of a self-certified lab in an open network.

    Raises IdentityError for names nobody should be shown.
    """
    lab, person = _need(keys.lab, "lab"), _need(keys.person, "member")
    root = lab if keys.network is None else keys.network
    lab_cert = LabCert(LabId(lab.peer_id), names.lab)
    clerk = _Clerk(anchor, now_ms, now_ms + FOUNDER_VALID_MS)
    certificates = (clerk.sign(root, lab_cert), *clerk.person_and_machine(lab, person, keys, names))
    return _checked(MembershipToken(certificates), anchor, keys.machine, now_ms)


def invite(
    anchor: Anchor, keys: Keys, token: MembershipToken, grant: Grant, key: Signer, now_ms: int
) -> tuple[Signed, ...]:
    """The certificates that make `key` an invite key, the last being its own.

    Raises IdentityError when this machine's owner may not give such an invite.
    """
    me = check_token(token, keys.machine.peer_id, anchor, keys.machine, Clocks(now_ms))
    signer, before = _inviter(keys, token, grant, me)
    ends_ms = now_ms + grant.valid_ms
    if signer is not keys.network:
        ends_ms = min(ends_ms, me.expires_ms)
    cert = _invite_cert(key.peer_id, grant, me, min(now_ms + grant.join_within_ms, ends_ms))
    if len(before) + 3 > CERTIFICATES_MAX:
        raise IdentityError("too many invitations after one another: ask one who came in earlier")
    return (*before, _Clerk(anchor, now_ms, ends_ms).sign(signer, cert))


def _inviter(
    keys: Keys, token: MembershipToken, grant: Grant, me: Admitted
) -> tuple[Signer, tuple[Signed, ...]]:
    """The key that may give such an invite, and what proves it."""
    if grant.new_lab:
        return _need(keys.network, "network"), ()
    if keys.lab is not None and not grant.own_machine:
        return keys.lab, _up_to_lab(token)
    signer = _need(keys.person, "member")
    if not me.can_invite and not grant.own_machine:
        raise NotEntitledError(
            f"{me.person_name} may not invite into {me.lab_name}: "
            "ask somebody of the lab who may, or invite a machine of your own (--own-machine)"
        )
    return signer, token.certificates[:-1]


def _invite_cert(invite: PeerId, grant: Grant, me: Admitted, join_by_ms: int) -> InviteCert:
    return InviteCert(
        invite=invite,
        lab=LabId("") if grant.new_lab else me.lab,
        uses=grant.uses,
        join_by_ms=join_by_ms,
        can_invite=grant.can_invite,
        new_lab=grant.new_lab,
        owner=me.person if grant.own_machine else PersonId(""),
    )


def accept(
    anchor: Anchor,
    certificates: tuple[Signed, ...],
    invite_key: Signer,
    keys: Keys,
    names: Names,
    now_ms: int,
) -> MembershipToken:
    """Use an invite: the newcomer's own token. Raises IdentityError if it does not grant that."""
    granted = _granted(certificates, anchor, keys.machine, now_ms)
    clerk = _Clerk(anchor, now_ms, certificates[-1].expires_ms)
    own = clerk.newcomer(granted, invite_key, keys, names)
    return _checked(MembershipToken((*certificates, *own)), anchor, keys.machine, now_ms)


class _Clerk(msgspec.Struct, frozen=True):
    """Signs certificates of one network with the same dates."""

    anchor: Anchor
    now_ms: int
    expires_ms: int

    def sign(self, signer: Signer, cert: LabCert | InviteCert | PersonCert | MachineCert) -> Signed:
        network = self.anchor.network
        return certify(signer, network, cert, issued_ms=self.now_ms, expires_ms=self.expires_ms)

    def machine(self, peer: PeerId, lab: LabId, owner: PersonId, names: Names) -> MachineCert:
        return MachineCert(peer, lab, owner, names.machine, names.site, names.roles)

    def newcomer(
        self, granted: InviteCert, invite_key: Signer, keys: Keys, names: Names
    ) -> tuple[Signed, ...]:
        """What the newcomer signs with the invite's key: a lab, a machine alone, or a person."""
        if granted.new_lab:
            lab = _need(keys.lab, "lab")
            new_lab = self.sign(invite_key, LabCert(LabId(lab.peer_id), names.lab))
            own = self.person_and_machine(lab, _need(keys.person, "member"), keys, names)
            return (new_lab, *own)
        if granted.owner:
            machine = self.machine(keys.machine.peer_id, granted.lab, granted.owner, names)
            return (self.sign(invite_key, machine),)
        person = _need(keys.person, "member")
        cert = PersonCert(PersonId(person.peer_id), names.person, granted.lab, granted.can_invite)
        machine = self.machine(keys.machine.peer_id, granted.lab, cert.person, names)
        return (self.sign(invite_key, cert), self.sign(person, machine))

    def person_and_machine(
        self, lab: Signer, person: Signer, keys: Keys, names: Names
    ) -> tuple[Signed, Signed]:
        """A lab's first person, who may invite, and the machine they sit at."""
        lab_id, person_id = LabId(lab.peer_id), PersonId(person.peer_id)
        cert = PersonCert(person_id, names.person, lab_id, can_invite=True)
        machine = self.machine(keys.machine.peer_id, lab_id, person_id, names)
        return self.sign(lab, cert), self.sign(lab, machine)


def proof_of(key: Signer, anchor: Anchor, token: MembershipToken) -> tuple[Signed, ...]:
    """The certificates of a token that show what one of its keys is; none for the network's."""
    if key.peer_id == anchor.root:
        return ()
    for count, sealed in enumerate(token.certificates, 1):
        if subject_of(decode_as(CERTIFICATES[sealed.domain], sealed.payload)) == key.peer_id:
            return token.certificates[:count]
    raise IdentityError(f"{key.peer_id} stands in none of our certificates")


def _up_to_lab(token: MembershipToken) -> tuple[Signed, ...]:
    """The certificates before the first person: what proves the lab."""
    domains = [sealed.domain for sealed in token.certificates]
    return token.certificates[: domains.index(PERSON_DOMAIN)]


def _need(key: KeySigner | None, whose: str) -> KeySigner:
    if key is None:
        raise NotEntitledError(f"this needs the {whose} key, which is not on this machine")
    return key


def _granted(
    certificates: tuple[Signed, ...], anchor: Anchor, machine: KeySigner, now_ms: int
) -> InviteCert:
    """What an invite allows, once it is proved that it may."""
    try:
        return check_invite_chain(certificates, anchor, machine, Clocks(now_ms))
    except AdmissionError as exc:
        remedy = "" if exc.code in ("expired", "clock") else "; ask for a new one"
        raise IdentityError(f"the invite proves nothing: {exc.detail}{remedy}") from exc


def _checked(
    token: MembershipToken, anchor: Anchor, machine: KeySigner, now_ms: int
) -> MembershipToken:
    """The token, once it has passed the check every peer will make."""
    try:
        check_token(token, machine.peer_id, anchor, machine, Clocks(now_ms))
    except AdmissionError as exc:
        raise IdentityError(exc.detail) from exc
    return token
