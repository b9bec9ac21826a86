"""Who speaks on a connection, as its certificates prove: what every handler decides by.

What a peer says of itself elsewhere (presences, adverts, fields of messages) gives it no right.
"""

import msgspec

from p2p.identity.admission import Admitted
from p2p.ids import LabId, PeerId, PersonId


class Caller(msgspec.Struct, frozen=True):
    """A machine, whose it is and what it may do, as proved when it was admitted."""

    peer: PeerId
    person: PersonId
    """The person it belongs to: equal on all machines of that person."""
    lab: LabId
    name: str = ""
    """Of the machine."""
    person_name: str = ""
    lab_name: str = ""
    site: str = ""
    roles: tuple[str, ...] = ()
    can_invite: bool = False
    expires_ms: int = 0
    """When the first certificate of its chain ends, wall-clock milliseconds since 1970."""
    is_me: bool = False
    """This node itself: its calls to its own peer id."""


def caller_of(who: Admitted, *, is_me: bool = False) -> Caller:
    """The speaker on a connection whose admission proved this."""
    return Caller(
        peer=who.peer,
        person=who.person,
        lab=who.lab,
        name=who.name,
        person_name=who.person_name,
        lab_name=who.lab_name,
        site=who.site,
        roles=who.roles,
        can_invite=who.can_invite,
        expires_ms=who.expires_ms,
        is_me=is_me,
    )


def uncertified(peer: PeerId, *, is_me: bool = False) -> Caller:
    """A machine that proved its key and nothing else: a person and a lab of its own."""
    return Caller(peer, PersonId(peer), LabId(peer), is_me=is_me)
