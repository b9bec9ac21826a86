"""This machine's own certificates and keys, from the files of its home."""

from p2p.host.admission.exchange import TokenAdmission
from p2p.identity.admission import Admitted, Anchor
from p2p.identity.issue import Keys
from p2p.identity.records import MembershipToken
from swarmnode.home.enrol import Enrolment, load_keys, load_membership, save_membership
from swarmnode.home.folders import Home


class HomePapers:
    """`p2p.identity.papers.Papers` of a machine."""

    def __init__(self, home: Home, admission: TokenAdmission) -> None:
        self._home, self._admission = home, admission

    @property
    def token(self) -> MembershipToken:
        """What we show to others now."""
        return self._admission.token

    @property
    def me(self) -> Admitted:
        """What it proves."""
        return self._admission.me

    @property
    def anchor(self) -> Anchor:
        """Our network."""
        return self._admission.anchor

    def keys(self) -> Keys:
        """Every key that lies here. Raises IdentityError."""
        return load_keys(self._home)

    def replace(self, token: MembershipToken) -> None:
        """Keep this token and show it from now on. Raises AdmissionError, IdentityError."""
        kept = load_membership(self._home)
        save_membership(self._home, Enrolment(kept.anchor, token, kept.addresses))
        self._admission.adopt(token)
