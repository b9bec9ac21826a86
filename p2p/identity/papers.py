"""What a machine has in its own drawer: the certificates it shows and the keys that lie there."""

from typing import Protocol

from p2p.identity.admission import Admitted, Anchor
from p2p.identity.issue import Keys
from p2p.identity.records import MembershipToken


class Papers(Protocol):
    """This machine's own; `swarmnode.home.papers.HomePapers` on a node."""

    @property
    def token(self) -> MembershipToken:
        """What we show to others now."""
        ...

    @property
    def me(self) -> Admitted:
        """What it proves."""
        ...

    @property
    def anchor(self) -> Anchor:
        """Our network."""
        ...

    def keys(self) -> Keys:
        """Every key that lies here. Raises IdentityError."""
        ...

    def replace(self, token: MembershipToken) -> None:
        """Keep this token and show it from now on. Raises AdmissionError, IdentityError."""
