"""When a machine's membership ends, in words: for status, log, doctor and the start of a node."""

from datetime import UTC, datetime
from typing import Final

from p2p.identity.admission import Admitted
from p2p.identity.records import MembershipToken
from p2p.identity.renew import half_life_ms

WARN_MS: Final = 30 * 86_400_000
"""From so long before the end on it is a matter for a person: renewal has failed for months."""
_SHARE_LEFT: Final = 0.45
"""Short memberships are renewed from half of their life: a little later it has not worked."""
REMEDY: Final = "ask a member for a new invite, then: swarmnode join <invite>"
_REMOVED: Final = " was removed by "
_USED: Final = "ask for a new"
"""As p2p.identity.register says that somebody is out: removed, or come with a used invite."""


def date(wall_ms: int) -> str:
    """`2027-01-15 08:00 UTC`."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def has_ended(expires_ms: int) -> str:
    """What a node says whose membership is over."""
    return f"this machine's membership ended on {date(expires_ms)}: {REMEDY}"


def warning(token: MembershipToken, me: Admitted, now_ms: int, trouble: str = "") -> str:
    """That the membership ends soon or has ended; empty while neither is so."""
    if now_ms >= me.expires_ms:
        return f"{has_ended(me.expires_ms)}. Others let this machine in no longer"
    life_ms = 2 * (me.expires_ms - half_life_ms(token))
    left_ms = me.expires_ms - now_ms
    if left_ms >= min(WARN_MS, life_ms * _SHARE_LEFT):
        return ""
    why = f" ({trouble})" if trouble else ""
    return (
        f"this machine's membership ends on {date(me.expires_ms)} and was not renewed{why}: start "
        f"a machine that holds the lab's key, or one of whoever invited, or {REMEDY}"
    )


def removal_words(why: str) -> str:
    """That this machine is out, by whom and since when, and what to do."""
    told = f"this machine is out of the network: {why}"
    if _REMOVED in why:
        remedy = (
            "these keys are out for good: ask for a new invite, and join in an empty SWARM_HOME"
        )
        return f"{told}: {remedy}"
    return f"{told}, `swarmnode join` it, and start the node again" if _USED in why else told


def of_us(failure: str) -> str:
    """Why somebody says that we are out; empty where we refused, or for another reason."""
    why = failure.partition(" refused us: ")[2]
    return why if _REMOVED in why or _USED in why else ""
