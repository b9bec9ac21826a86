"""New certificates for old ones, signed by a key that could have given them. Sends nothing.

    key that lies here      may renew                      the newcomer adds
    lab                     people and machines of it      nothing
    a person's              that person's machines         nothing
    an inviting person's    those whom they invited        its machine, by its person's key
    network                 labs                           its people and machines, by its lab key

What is renewed says the same as before (names, roles, who invited) and lasts as long as was granted
then, counted from now. Nothing is renewed before half of its life.
"""

from collections.abc import Callable, Sequence

import msgspec

from p2p.errors import AdmissionError
from p2p.identity.admission import Admitted, Anchor, Clocks, check_token
from p2p.identity.issue import Keys, proof_of
from p2p.identity.keys import SEED_BYTES, KeySigner
from p2p.identity.lineage import CertLink
from p2p.identity.records import (
    INVITE_DOMAIN,
    LAB_DOMAIN,
    MACHINE_DOMAIN,
    PERSON_DOMAIN,
    InviteCert,
    LabCert,
    MachineCert,
    MembershipToken,
    PersonCert,
    certify,
)
from p2p.ids import PeerId, PersonId
from p2p.limits import CERTIFICATES_MAX
from p2p.wire.codec import Record, decode_as
from p2p.wire.envelope import Signed, Signer


def half_life_ms(token: MembershipToken) -> int:
    """When half the life of the certificate that ends first is over, wall clock."""
    first = min(token.certificates, key=lambda cert: (cert.expires_ms, -cert.sequence))
    return first.expires_ms - (first.expires_ms - first.sequence) // 2


class Applicant(msgspec.Struct, frozen=True):
    """A machine whose certificates are to be renewed, verified."""

    token: MembershipToken
    who: Admitted
    lab_key: bool = False
    """Its lab's key lies there."""

    def find(self, domain: str) -> Signed:
        """Its certificate of a kind: the last one, which is its own."""
        return next(cert for cert in reversed(self.token.certificates) if cert.domain == domain)

    def link(self, subject: str) -> CertLink:
        """The link of one of its ids."""
        return next(link for link in self.who.lineage if link.subject == subject)

    def term_ms(self, subject: str) -> int:
        """How long the person, machine or lab was granted: what its invite says, if by one."""
        links, certificates = self.who.lineage, self.token.certificates
        sealed = {link.subject: cert for link, cert in zip(links, certificates, strict=True)}
        above = sealed.get(self.link(subject).signer)
        is_by_invite = above is not None and above.domain == INVITE_DOMAIN
        granted = above if above is not None and is_by_invite else sealed[subject]
        return granted.expires_ms - granted.sequence

    @property
    def inviter(self) -> str:
        """The person above it, by an invite or by what a renewed certificate says; or empty."""
        person = self.link(self.who.person)
        by_invite = [link for link in self.who.lineage if link.subject == person.signer]
        if by_invite and by_invite[0].domain == INVITE_DOMAIN:
            return by_invite[0].signer
        return person.beside


class Renewer(msgspec.Struct, frozen=True):
    """A machine that may sign for others: its own certificates and keys."""

    anchor: Anchor
    token: MembershipToken
    me: Admitted
    keys: Keys

    def renew(
        self, old: Applicant, now_ms: int, entropy: Callable[[int], bytes]
    ) -> tuple[Signed, ...]:
        """Certificates that last longer, or none where no key here may give them."""
        keys, who = self.keys, old.who
        certificates: tuple[Signed, ...] = ()
        if keys.lab is not None and str(keys.lab.peer_id) == who.lab:
            certificates = self._by_lab(keys.lab, old, now_ms)
        elif keys.person is not None and str(keys.person.peer_id) == who.person:
            proof = proof_of(keys.person, self.anchor, self.token)
            until_ms = min(cert.expires_ms for cert in proof)
            certificates = (*proof, self._machine(keys.person, old, now_ms, until_ms))
        elif keys.person is not None and keys.person.peer_id == old.inviter and self.me.can_invite:
            certificates = self._by_inviter(keys.person, old, now_ms, entropy)
        elif keys.network is not None and old.lab_key:
            certificates = self._lab(keys.network, old, now_ms)
        ends_ms = min((cert.expires_ms for cert in certificates), default=0)
        return certificates if ends_ms > who.expires_ms else ()

    def with_own(
        self, signed: tuple[Signed, ...], old: Applicant, now_ms: int
    ) -> tuple[Signed, ...]:
        """These, and behind them what our own keys sign: our person, our machine."""
        until_ms = now_ms + old.term_ms(old.who.person)
        lab, key = self.keys.lab, self.keys.person or self.keys.lab
        if signed and signed[-1].domain == LAB_DOMAIN and lab is not None:
            signed = (*signed, self._sign(lab, _person(old), now_ms, until_ms))
        if signed and signed[-1].domain == PERSON_DOMAIN and key is not None:
            signed = (*signed, self._machine(key, old, now_ms, until_ms))
        return signed

    def _sign(self, key: Signer, record: Record, now_ms: int, until_ms: int) -> Signed:
        network = self.anchor.network
        return certify(key, network, record, issued_ms=now_ms, expires_ms=until_ms)

    def _machine(self, key: Signer, old: Applicant, now_ms: int, until_ms: int) -> Signed:
        cert = decode_as(MachineCert, old.find(MACHINE_DOMAIN).payload)
        return self._sign(key, cert, now_ms, until_ms)

    def _by_lab(self, lab: KeySigner, old: Applicant, now_ms: int) -> tuple[Signed, ...]:
        """By the lab's key, with our own proof of the lab."""
        own_lab = self.me.lab == old.who.lab
        proof = proof_of(lab, self.anchor, self.token) if own_lab else ()
        if not proof:
            return ()
        until_ms = now_ms + old.term_ms(old.who.person)
        person = self._sign(lab, _person(old), now_ms, until_ms)
        return (*proof, person, self._machine(lab, old, now_ms, until_ms))

    def _by_inviter(
        self, person_key: KeySigner, old: Applicant, now_ms: int, entropy: Callable[[int], bytes]
    ) -> tuple[Signed, ...]:
        """By an invite that only this person can use, as its key is forgotten at once."""
        proof = proof_of(person_key, self.anchor, self.token)
        if len(proof) + 3 > CERTIFICATES_MAX:
            return ()
        key = KeySigner.from_seed(entropy(SEED_BYTES))
        until_ms = min(now_ms + old.term_ms(old.who.person), *(cert.expires_ms for cert in proof))
        person = decode_as(PersonCert, old.find(PERSON_DOMAIN).payload)
        invite = InviteCert(key.peer_id, old.who.lab, 1, now_ms, person.can_invite)
        certificates = (
            self._sign(person_key, invite, now_ms, until_ms),
            self._sign(key, _person(old), now_ms, until_ms),
        )
        return (*proof, *certificates)

    def _lab(self, network: KeySigner, old: Applicant, now_ms: int) -> tuple[Signed, ...]:
        lab = LabCert(old.who.lab, old.who.lab_name)
        return (self._sign(network, lab, now_ms, now_ms + old.term_ms(old.who.lab)),)


def complete(
    certificates: Sequence[Signed], old: Applicant, anchor: Anchor, keys: Keys, now_ms: int
) -> MembershipToken | None:
    """The whole token from what was renewed, with our own signatures behind it; None if it is no
    good or lasts no longer than what we have."""
    mine = Renewer(anchor, old.token, old.who, keys)
    token = MembershipToken(mine.with_own(tuple(certificates), old, now_ms))
    try:
        who = check_token(token, old.who.peer, anchor, keys.machine, Clocks(now_ms))
    except AdmissionError:
        return None
    is_same = _says(who) == _says(old.who)
    return token if is_same and who.expires_ms > old.who.expires_ms else None


def _says(who: Admitted) -> tuple[object, ...]:
    """What renewed certificates must say as those before did."""
    return who.lab, who.person, who.name, who.roles


def renew_own(
    anchor: Anchor, old: Applicant, keys: Keys, now_ms: int, entropy: Callable[[int], bytes]
) -> MembershipToken | None:
    """Our own certificates, by the keys that lie here; None where those cannot."""
    me, token = old, old.token
    if keys.network is not None and keys.lab is not None:
        lab = Renewer(anchor, token, old.who, keys)._lab(keys.network, old, now_ms)
        return complete(lab, old, anchor, keys, now_ms)
    certificates = Renewer(anchor, token, me.who, keys).renew(me, now_ms, entropy)
    return complete(certificates, old, anchor, keys, now_ms)


def _person(old: Applicant) -> PersonCert:
    """Who they are, and still who invited them with what, though another key signs it now."""
    cert = decode_as(PersonCert, old.find(PERSON_DOMAIN).payload)
    use = old.who.came_with
    is_by_invite = use is not None and use.user == old.who.person
    invite, uses = (use.invite, use.uses) if use is not None and is_by_invite else ("", 0)
    return PersonCert(
        cert.person,
        cert.name,
        cert.lab,
        cert.can_invite,
        PersonId(old.inviter),
        PeerId(invite),
        uses,
    )
