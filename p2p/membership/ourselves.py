"""This machine among the others: who it is, and what it says of itself, ever louder.

Whoever doubts us names an incarnation of ours; we answer with a higher one, which nobody else can
sign. So what is true of us wins over whatever is said of us.
"""

import math

import msgspec

from p2p.identity.proofs import Proofs, token_for_presence
from p2p.ids import LabId, NetworkId, PeerId
from p2p.limits import ADDRESS_CHARS_MAX, ADDRESSES_PER_PEER_MAX
from p2p.membership.lives import ANSWER_AGAIN_S
from p2p.membership.messages import PRESENCE_DOMAIN, Presence
from p2p.wire.envelope import Signed, Signer, seal


class Profile(msgspec.Struct, frozen=True):
    """What a machine says about itself."""

    name: str
    lab: LabId
    site: str
    relays: bool = False
    """Whether it carries circuits for others."""


class Ourselves(msgspec.Struct, frozen=True):
    """Who this machine is, by its key, by its own word and by its certificates."""

    signer: Signer
    network: NetworkId
    profile: Profile
    proofs: Proofs | None = None
    """Whose machine we and others are; None where there are no certificates."""

    @property
    def peer(self) -> PeerId:
        """Our own id."""
        return self.signer.peer_id


class OwnPresence:
    """What we say of ourselves, and under which incarnation."""

    def __init__(self, who: Ourselves, incarnation: int) -> None:
        self._who = who
        self.me = who.peer
        self.incarnation = incarnation
        """Of our newest presence: wall-clock milliseconds at first, and it only ever grows."""
        self._life = incarnation
        """The incarnation of the start: every presence of ours names it."""
        self._answered_s = -math.inf
        """When we last answered a presence of our own key that is not ours."""
        self.has_left = False
        """We have said goodbye; the core says so, and takes it back when we join again."""
        self.addresses: tuple[str, ...] = ()
        """Where others may reach us: the core says so, our next presence tells it."""

    def sealed(self) -> Signed:
        """What is true of us now, signed under the present incarnation."""
        who, profile = self._who, self._who.profile
        addresses = tuple(a for a in self.addresses if len(a) <= ADDRESS_CHARS_MAX)
        presence = Presence(
            addresses[:ADDRESSES_PER_PEER_MAX],
            profile.name,
            profile.lab,
            profile.site,
            self.has_left,
            self._life,
            token_for_presence(who.proofs),
            profile.relays,
        )
        domain, sequence = PRESENCE_DOMAIN, self.incarnation
        return seal(who.signer, who.network, domain, presence, sequence=sequence, expires_ms=0)

    def rise_to(self, claimed: int) -> bool:
        """Take up an incarnation of ours that is doubted; False where that does not concern us."""
        if self.has_left or claimed < self.incarnation:
            return False
        self.incarnation = claimed
        return True

    def may_answer(self, now_s: float, *, is_double: bool) -> bool:
        """Whether we answer a presence of our key that is not ours: two machines must rest."""
        if is_double and now_s - self._answered_s < ANSWER_AGAIN_S:
            return False
        self._answered_s = now_s
        return True

    def check_invariants(self, told: int | None) -> None:
        """Between two events: nobody has said more of us than we; `told` stands in our own row."""
        newest = self._life if told is None else max(self._life, told)
        assert newest <= self.incarnation, "an incarnation of ours was not ours"
