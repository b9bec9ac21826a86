"""The membership view: what the rest of the node reads. Plain values, no behaviour."""

from bisect import bisect_left
from enum import IntEnum
from operator import attrgetter
from typing import Final

import msgspec

from p2p.ids import LabId, PeerId, PersonId

_NOBODY = PersonId("")
COMPUTE: Final = "compute"
"""Role of a machine that runs others' tasks."""
STORAGE: Final = "storage"
"""Role of a machine that keeps others' bytes."""


class Liveness(IntEnum):
    """Three levels of doubt, and a farewell."""

    ALIVE = 0
    SUSPECT = 1  # gets no new work
    DEAD = 2
    LEFT = 3  # said goodbye


GONE: Final = (Liveness.DEAD, Liveness.LEFT)
"""Not here any more, as far as anybody knows."""


class Member(msgspec.Struct, frozen=True):
    """One machine as the swarm knows it."""

    peer: PeerId
    liveness: Liveness
    incarnation: int
    addresses: tuple[str, ...]
    name: str
    """As its certificate says, like all that follows: nothing here is merely claimed."""
    lab: LabId
    site: str
    """Failure domain below the lab, as declared in the machine's certificate."""
    since_s: float
    """Monotonic time of the last change of liveness, on our clock."""
    person: PersonId = _NOBODY
    """The person it belongs to, as its certificate says."""
    roles: tuple[str, ...] = ()
    lab_name: str = ""
    relays: bool = False
    """It says that it carries circuits for others: nobody has to prove that."""

    def may_offer(self, role: str) -> bool:
        """Whether its certificate lets it be that to others; one without roles says nothing."""
        return not self.roles or role in self.roles


class MemberChanged(msgspec.Struct, frozen=True):
    """Told to listeners whenever a member's liveness or addresses change."""

    member: Member
    before: Liveness | None


class View(msgspec.Struct, frozen=True):
    """Everybody we know, ourselves included, sorted by peer id."""

    me: PeerId
    members: tuple[Member, ...]

    def alive(self) -> tuple[Member, ...]:
        """Members that may be given work or data."""
        return tuple(m for m in self.members if m.liveness is Liveness.ALIVE)

    def find(self, peer: PeerId) -> Member | None:
        """The member with that id, if known."""
        at = bisect_left(self.members, peer, key=attrgetter("peer"))
        member = self.members[at] if at < len(self.members) else None
        return member if member is not None and member.peer == peer else None
