"""What an object survives, in words for people."""

from collections.abc import Sequence

from p2p.ids import PeerId
from storage.pool import Pool


def survives_words(k: int, live: Sequence[PeerId], me: PeerId) -> str:
    """For the segment that is worst off; `live` are the machines that hold a shard of it now."""
    machines = len(set(live))
    spare = machines - k
    if spare < 0:
        return f"unreadable now: {machines} of the {k} machines needed can be reached"
    if machines == 1 and me in live:
        return "nothing: stored on this machine only"
    if machines == 1:
        return "nothing: stored on one other machine only"
    if spare == 0:
        return "nothing: every machine that holds it is needed"
    return "any 1 machine" if spare == 1 else f"any {spare} machines"


def are_one_site(holders: Sequence[PeerId], pool: Pool) -> bool:
    """Whether all holders stand in one place, whose loss would be the object's."""
    known = [pool.candidate(peer) for peer in holders]
    places = {(c.lab, c.site) for c in known if c is not None}
    return len(places) <= 1
