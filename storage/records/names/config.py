"""How long holders of names are waited for, and when they count as gone."""

import msgspec


class NamesConfig(msgspec.Struct, frozen=True):
    """Times in seconds."""

    call_timeout_s: float = 3.0
    """A holder answers after one commit: milliseconds when it is healthy."""
    tries: int = 8
    """Rounds of a read or write: lost to other writers, or to connections that broke."""
    backoff_s: float = 0.05
    """Wait up to this, doubled each time, so that rivals do not meet again."""
    down_after_s: float = 15 * 60.0
    """A dead member counts as a holder for so long: see core for what that guards."""
    given_up_after_s: float = 60.0
    """So long where most members live: a machine is started anew within that."""
    watch_s: float = 2.0
    """How often we look whether the holders have changed and names must be handed over."""
    sweep_s: float = 3600.0
    """How often names that nobody wrote for a year, or never, are forgotten."""
