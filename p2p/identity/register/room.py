"""How many entries may be held of each branch of a network: nobody uses up the room of all others.

A person makes as many keys as they like: machines, and with invites people. So an entry is charged
to its signer and to all who stand above it in the certificates that it shows. What a lab's key or
the network's signs has room of its own, whatever people below them have filled; and where a key's
own entries are counted apart (removals), nobody below a person fills what that person needs.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from p2p.identity.lineage import CertLink
from p2p.identity.records import INVITE_DOMAIN, LAB_DOMAIN
from p2p.ids import PeerId

_SELF_MADE = "labs that certify themselves"
"""Whoever brings their own lab (open networks) shares with all others who do."""


class Room(msgspec.Struct):
    """Counts what is held, in all and below each key."""

    root: PeerId
    most: int
    most_per_lab: int
    """Below one certificate of the network's key."""
    most_per_key: int
    """Of one key and all that stand below it, where that is no lab's."""
    most_own: int = 0
    """Of what a key signs itself, where that is counted apart from what those below it sign."""
    _held: int = 0
    """Entries of all signers."""
    _below: Counter[str] = msgspec.field(default_factory=Counter)
    """Entries by each key that they are charged to; none that has nothing."""
    _own: Counter[str] = msgspec.field(default_factory=Counter)
    """Entries by who signed them, where `most_own` is set."""

    def has_place(self, signer: str, lineage: Sequence[CertLink]) -> bool:
        """Whether one more entry of that signer may be held."""
        keys, lab = self._charged(signer, lineage)
        return (
            self._held < self.most
            and self._below[lab] < self.most_per_lab
            and (not self.most_own or self._own[signer] < self.most_own)
            and all(self._below[key] < self.most_per_key for key in keys)
        )

    def count(self, signer: str, lineage: Sequence[CertLink], by: int = 1) -> None:
        """Note that one is held; with `by` -1 that it is not held any more."""
        keys, lab = self._charged(signer, lineage)
        self._held += by
        for key in {*keys, lab}:
            _count(self._below, key, by)
        if self.most_own:
            _count(self._own, signer, by)

    def _charged(self, signer: str, lineage: Sequence[CertLink]) -> tuple[frozenset[str], str]:
        keys, lab = _above(signer, lineage, self.root)
        if not self.most_own:
            return keys, lab
        # An invite is nobody: who stands above those who came with it is whoever gave it.
        invites = {link.subject for link in lineage if link.domain == INVITE_DOMAIN}
        return keys - invites - {signer}, lab


def _count(counts: Counter[str], key: str, by: int) -> None:
    counts[key] += by
    if not counts[key]:
        del counts[key]


def _above(signer: str, lineage: Sequence[CertLink], root: PeerId) -> tuple[frozenset[str], str]:
    """The keys an entry is charged to, and the certificate of the network's key they stand on.

    Only who signed for whom is followed. What stands beside it counts where the lab's key wrote it
    down: it is no newcomer's to choose.
    """
    links = {link.subject: link for link in lineage}
    labs = {link.subject for link in lineage if link.domain == LAB_DOMAIN}
    keys: dict[str, None] = {}
    at = signer
    while (link := links.get(at)) is not None and at not in keys and link.signer != at:
        if link.signer == root:
            return frozenset(keys) - labs, at
        keys[at] = None
        if link.signer in labs and link.beside:
            keys[link.beside] = None
        at = link.signer
    return frozenset(keys) - labs, root if signer == root else _SELF_MADE
