"""Who simulated machines are to each other: what certificates prove on a real network."""

from p2p.identity.caller import Caller
from p2p.ids import LabId, MemberId, PeerId

LAB = LabId("lab")
"""Of simulations that have only one."""


def machine_of(peer: PeerId, lab: LabId = LAB, member: MemberId | None = None) -> Caller:
    """A machine of a lab; of a person of its own unless told whose."""
    owner = MemberId(f"owner-{peer}") if member is None else member
    return Caller(peer, owner, lab, name=peer, member_name=owner, lab_name=lab)
