"""Other machines of a person: who is said to be one, and who proves it."""

import msgspec

from p2p.errors import WireError
from p2p.identity.proofs import Proofs
from p2p.ids import PeerId, PersonId
from p2p.membership.port import Views
from p2p.register.service import RegisterService


class Siblings(msgspec.Struct, frozen=True):
    """Of this machine."""

    me: PeerId
    owner: PersonId
    members: Views
    register: RegisterService
    proofs: Proofs | None
    """None where there are no certificates."""

    def seen(self) -> list[PeerId]:
        """Machines that showed certificates of the owner's since this node started."""
        peers = [
            member.peer for member in self.members.view().members if member.person == self.owner
        ]
        everybody = self.register.book.everybody().items()
        peers += [peer for peer, who in everybody if who.person == self.owner]
        return [peer for peer in dict.fromkeys(peers) if peer != self.me]

    def known_as(self) -> str:
        """What they call the owner; empty where none is known."""
        everybody = self.register.book.everybody()
        known = (everybody.get(peer) for peer in self.seen())
        return next((who.person_name for who in known if who and who.person == self.owner), "")

    def told(self) -> list[PeerId]:
        """Machines that the register tells of; any member may tell of what never was."""
        return self.register.register.uses.machines_of(self.owner)

    def is_proved(self, peer: PeerId, token: bytes) -> bool:
        """Whether a token shows a machine to be the owner's, whose membership has not ended."""
        if not token or self.proofs is None:
            return False
        try:
            who = self.proofs.whose(peer, token)
        except WireError:
            return False
        return who is not None and who.person == self.owner

    def token(self) -> bytes:
        """That this machine is the owner's."""
        return b"" if self.proofs is None else self.proofs.token()
