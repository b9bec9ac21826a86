"""What the rest of the node asks of membership; `MembershipService` has it, and fakes of tests."""

from collections.abc import Callable
from typing import Protocol

from p2p.membership.view import MemberChanged, View


class Views(Protocol):
    """Who is alive, as this machine sees it."""

    def view(self) -> View:
        """Everybody that is known now."""
        ...


class Members(Views, Protocol):
    """The same, and what changes of it."""

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        """Be told of each change; must not block."""
        ...
