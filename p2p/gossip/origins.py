"""Whose items may be here: the machines of the view, who is alive and whose they are."""

from collections.abc import Callable, Mapping

from p2p.ids import PeerId, PersonId
from p2p.membership.view import Liveness, View


class Origins:
    """The members that items may come from, read anew whenever the view is another one."""

    def __init__(self, me: PeerId, view: Callable[[], View]) -> None:
        self._me, self._view = me, view
        self.seen: View | None = None
        """The view that the next three were read from, when it was last looked at."""
        self._liveness: dict[PeerId, Liveness] = {}
        self.owners: Mapping[PeerId, PersonId] = {}
        """Whose machine each is."""
        self._alive: list[PeerId] = []
        """The others that are alive, by peer id."""

    def liveness(self) -> Mapping[PeerId, Liveness]:
        """Of every member that the view has now."""
        view = self._view()
        if view is not self.seen:
            self.seen = view
            self._liveness = {member.peer: member.liveness for member in view.members}
            self.owners = {member.peer: member.person for member in view.members}
            self._alive = [m.peer for m in view.alive() if m.peer != self._me]
        return self._liveness

    def alive(self) -> list[PeerId]:
        """The other members that are alive, by peer id."""
        self.liveness()
        return self._alive

    def check_invariants(self) -> None:
        """Between two events."""
        assert self._me not in self._alive, "we are not one of the others"
