"""Who stands above whom in a chain of certificates, and so may remove whom.

    network key -> lab -> (invite ->) person -> machine

Whoever stands above a machine, person, lab or invite in its own certificates may remove it: the
network's key, the lab's key, the person who invited, the owner. Invite keys may not: a newcomer
holds one. What counts is the chain that the removed one shows itself: nobody can put another one
below their own name, as nobody else shows such a chain.
"""

from collections.abc import Sequence

import msgspec

from p2p.identity.records import (
    INVITE_DOMAIN,
    InviteCert,
    LabCert,
    MachineCert,
    PersonCert,
)
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed


class CertLink(msgspec.Struct, frozen=True):
    """One certificate of a chain: who was empowered by whom."""

    domain: str
    subject: str
    signer: str
    name: str = ""
    """What people call the subject; empty for an invite."""
    beside: str = ""
    """Who stands above it beside the signer: a machine's owner, whoever invited a person first."""
    uses: int = 0
    """Of an invite: how many it is for."""


def subject_of(record: Record) -> str:
    """The id that a certificate is about."""
    match record:
        case LabCert(lab=lab):
            return lab
        case InviteCert(invite=invite):
            return invite
        case PersonCert(person=person):
            return person
        case MachineCert(peer=peer):
            return peer
    raise TypeError(f"{type(record).__name__} is not a certificate")


def link_of(record: Record, sealed: Signed) -> CertLink:
    """The link that a verified certificate makes."""
    subject = subject_of(record)
    match record:
        case LabCert(name=name):
            return CertLink(sealed.domain, subject, sealed.sender, name)
        case PersonCert(name=name, invited_by=invited_by):
            return CertLink(sealed.domain, subject, sealed.sender, name, invited_by)
        case MachineCert(name=name, person=owner):
            return CertLink(sealed.domain, subject, sealed.sender, name, owner)
        case InviteCert(uses=uses):
            return CertLink(sealed.domain, subject, sealed.sender, uses=uses)
    raise TypeError(f"{type(record).__name__} is not a certificate")


def may_remove(lineage: Sequence[CertLink], subject: str) -> frozenset[str]:
    """The keys that stand above a subject in its chain; empty when it is not in it."""
    links = {link.subject: link for link in lineage}
    above: dict[str, None] = {}
    waiting = [subject]
    while waiting:
        link = links.get(waiting.pop())
        if link is None:
            continue
        for key in (link.signer, link.beside):
            if key and key not in above:
                above[key] = None
                waiting.append(key)
    invites = {link.subject for link in lineage if link.domain == INVITE_DOMAIN}
    return frozenset(key for key in above if key not in invites and key != subject)
