"""How many descriptors this process may have, and who gets how many of them.

The soft limit is raised to the hard one at the start. Every listener takes a share that leaves
room for files, tasks and dials, so that nobody who connects can use up the last one; where one is
missing all the same, listeners pause (p2p/accepting.py) and files fail with a typed error.
"""

import resource
from typing import Final

import msgspec

from p2p.limits import PEERS_MAX, PENDING_MAX
from swarmnode.api.limits import API_CONNECTIONS_MAX
from swarmnode.errors import ConfigError

LIMIT_MAX: Final = 1024 * 1024
"""More is not asked for: some programs close every descriptor there could be, one by one."""

LIMIT_MIN: Final = 160
"""Some forty for the node itself, those that are reserved, and a few connections of each kind."""

_SHARE: Final = 8
"""Of the limit: API on two listeners, peers with two connections each, newcomers: 5 of 8 parts."""

_TASKS_SHARE: Final = 32
"""Of the limit: connections of tasks; two descriptors each, and up to twice as many for a while."""


class DescriptorShares(msgspec.Struct, frozen=True):
    """The most that each kind of connection may take."""

    api: int
    """On each of the API's listeners."""
    peers: int
    """Each of them may have a second connection."""
    pending: int
    """Not yet admitted."""
    tasks: int
    """Connections of all tasks together."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one; what it is now. ConfigError when that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LIMIT_MAX if hard == resource.RLIM_INFINITY else min(hard, LIMIT_MAX)
    if soft == resource.RLIM_INFINITY:
        return LIMIT_MAX
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft < LIMIT_MIN:
        raise ConfigError(
            f"only {soft} files may be open: a node needs {LIMIT_MIN} and works well with 4096; "
            "ulimit -n 65536 (systemd unit: LimitNOFILE=65536)"
        )
    return soft


def shares_of(limit: int) -> DescriptorShares:
    """What each may have when the process may have `limit` descriptors."""
    most = max(limit // _SHARE, 1)
    return DescriptorShares(
        min(API_CONNECTIONS_MAX, most),
        min(PEERS_MAX, most),
        min(PENDING_MAX, most),
        max(limit // _TASKS_SHARE, 1),
    )
