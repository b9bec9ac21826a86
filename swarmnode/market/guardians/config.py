"""Settings of the keepers of tasks, with the reasons for their values."""

import msgspec


class GuardianConfig(msgspec.Struct, frozen=True):
    """Times in seconds, on the monotonic clock."""

    lease_s: float = 15.0
    """Who acts and is not heard for so long may be replaced, and has stopped to act by then."""
    beat_s: float = 5.0
    after_s: float = 2.0
    """A task that is over sooner needs no keepers."""
    stagger_s: float = 2.0
    """Keepers do not stand all at once: each waits so much longer than the one before it."""
    vote_s: float = 3.0
    """Answers to a call for votes come within this, or it is called again."""
    asleep_s: float = 2.0
    """A timer this late tells that this machine was stopped: nobody else was silent."""
    copy_s: float = 300.0
    """A provider is asked to remember what has ended, with its log, until the copy of its owner's
    keyring has it, so long at most. Copies come every few seconds, but none while too few of those
    who hold their place live: 15 s until the dead are known, 60 s until they count no more."""
    over_s: float = 86_400.0
    """Keepers remember it for so long at most: that is all there is of it besides, and no more than
    a record for each."""
    logs_every_s: float = 10.0
    """What is printed is copied to the other keepers at the latest so long after it came to us: a
    lost machine costs a third of the half minute that we promise, and a chatty task six calls."""
    guardians: int = 2
    """Keepers besides the one who acts: with it they are the fewest that have a majority."""
