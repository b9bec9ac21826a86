"""Who a user of this machine is to the node, on the socket that all of them may connect to."""

import os
from collections.abc import Callable

from swarmnode.api.access.asker import OWNER, Principal
from swarmnode.api.problems import STARTING
from swarmnode.api.schema.node import Problem
from swarmnode.people.book import People, add_command, login_of


def who_is(
    people: People, has_started: Callable[[], bool], owner: int | None = None
) -> Callable[[int], Principal | Problem]:
    """Root and the user that the node runs as are its owner; others are whom it let in."""
    owner_uid = os.geteuid() if owner is None else owner

    def asker(uid: int) -> Principal | Problem:
        if uid in (0, owner_uid):
            return OWNER
        if not has_started():
            return STARTING
        person = people.of_user(uid)
        return _not_let_in(uid, owner_uid) if person is None else Principal(person, "person")

    return asker


def _not_let_in(uid: int, owner_uid: int) -> Problem:
    me = login_of(uid)
    hint = (
        f"ask {login_of(owner_uid)}, whose node this is, for `{add_command(uid)}` "
        "(or run a node of your own: `swarmnode init`, `swarmnode up`)"
    )
    return Problem(403, "not_let_in", f"{me} is not let in to the node of this machine", hint)
