"""What the local API says, as typed structs: the one thing that server, CLI and SDK share."""

from typing import Annotated, Literal

import msgspec

API_VERSION = 1


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error, in the form of RFC 9457. `code` is stable; `detail` names the remedy."""

    status: int
    code: str
    title: str
    detail: str = ""


class PeerLine(msgspec.Struct, frozen=True):
    """A member as this node sees it. rtt_ms is null before the first measurement."""

    peer: str
    name: str
    lab: str
    site: str
    liveness: str
    me: bool
    connected: bool
    rtt_ms: float | None
    addresses: tuple[str, ...]
    cpu_free_millis: int | None = None
    memory_free_bytes: int | None = None
    gpus: tuple[str, ...] = ()
    storage_free_bytes: int | None = None
    paused: bool = False
    lab_name: str = ""
    """As its certificates say; empty for a member not met since the start."""
    relay: str = ""
    """The member by which it is connected, as neither reaches the other; empty: directly."""
    relays: bool = False
    """It carries connections for others."""
    environments: tuple[str, ...] = ()
    """Those that its owner has named (`[env.NAME]`), for tasks to ask for."""


class SecretLine(msgspec.Struct, frozen=True):
    """A secret of the asker's: its value is told to nobody."""

    name: str
    size: int
    set_ms: int


class SecretKept(msgspec.Struct, frozen=True):
    """It is kept from here on; tasks that were submitted before have what was there then."""

    name: str
    size: int
    replaced: bool


class MemberMachine(msgspec.Struct, frozen=True):
    """A machine of a person. `why_out` is empty unless it was removed."""

    peer: str
    name: str
    liveness: str
    why_out: str = ""


class MemberLine(msgspec.Struct, frozen=True):
    """A person, as their certificates say. `standing` is member, ended or removed."""

    member: str
    name: str
    lab: str
    lab_name: str
    standing: str
    why: str = ""
    can_invite: bool = False
    invited_by: str = ""
    invite: str = ""
    valid_until_ms: int = 0
    machines: tuple[MemberMachine, ...] = ()
    is_me: bool = False


class RemoveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to remove: a name or id of a person, machine, lab or invite."""

    who: str
    with_invited: bool = False
    """Those who came with an invite of theirs, too."""


class PhraseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose recovery phrase: a person's name or id."""

    who: str


class PhraseShown(msgspec.Struct, frozen=True):
    """Whoever has it is that person."""

    id: str
    name: str
    phrase: str


class RemovalDone(msgspec.Struct, frozen=True):
    """What was removed. `changed` is false when it had been before."""

    changed: bool
    id: str
    name: str
    kind: str
    along: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    """Invites that let nobody in any more: the removed one could have come back with them."""


class StorageStatus(msgspec.Struct, frozen=True):
    """Bytes of other people's and our own shards on this machine."""

    used_bytes: int
    free_bytes: int
    cache_bytes: int
    objects: int
    repairs_done: int
    bytes_repaired: int
    kept_degraded: int = 0
    """Objects (pages of 2 GiB) kept here with fewer shards than the pool now could hold ..."""
    kept_unreadable: int = 0
    """... and those of them that cannot be read by anybody now."""
    own_degraded: int = 0
    """The same of the objects this owner put; the unreadable are not counted as degraded."""
    own_unreadable: int = 0


class ComputeStatus(msgspec.Struct, frozen=True):
    """What this machine lends and what is in use."""

    enabled: bool
    paused: bool
    cpu_millis: int
    cpu_free_millis: int
    memory_bytes: int
    memory_free_bytes: int
    gpus: tuple[str, ...]
    jobs_running: int
    environments: tuple[str, ...]
    not_enforced: dict[str, str]
    """Limit -> why it is not enforced here and what would change that."""
    net: tuple[str, ...] = ()
    net_others: tuple[str, ...] = ()
    net_trouble: str = ""
    """What of the network tasks of this lab, and of others, may ask for; why none has one here."""
    data: tuple[str, str] = ("", "")
    """How tasks see datasets (lazy, whole, inside), and why not in a better way."""
    image_trouble: str = ""
    """Why tasks cannot write to their images here."""


class PeersStatus(msgspec.Struct, frozen=True):
    """How others are connected, and what is carried for them. Bytes are both ways added."""

    direct: int = 0
    by_relay: int = 0
    carries: bool = False
    """Whether this machine carries for others ([network] relay)."""
    circuits: int = 0
    carried_bytes: int = 0
    """Circuits carried now, of which a busy pair has two; bytes since the start."""


class Status(msgspec.Struct, frozen=True):
    """Health first. `state` is starting, joining, ready, removed or stopping."""

    v: int
    state: str
    warnings: tuple[str, ...]
    peer: str
    name: str
    lab: str
    network: str
    version: str
    profile: str
    pid: int
    uptime_s: float
    join_step: str
    join_failures: tuple[str, ...]
    members_alive: int
    members_suspect: int
    members_dead: int
    addresses: tuple[str, ...]
    storage: StorageStatus
    compute: ComputeStatus
    counters: dict[str, int]
    valid_until_ms: int = 0
    """When this machine's membership ends, unless it is renewed before."""
    notes: tuple[str, ...] = ()
    """What its owner should know and is no fault."""
    peers: PeersStatus = PeersStatus()


class PauseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The owner takes the machine back within `grace_s` seconds; null: timers.pause_grace_s."""

    grace_s: Annotated[float, msgspec.Meta(ge=0, le=600)] | None = None


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address to join through now."""

    address: str


class Pong(msgspec.Struct, frozen=True):
    """Round trips to one peer, in milliseconds."""

    peer: str
    rtt_ms: tuple[float, ...]


class Me(msgspec.Struct, frozen=True):
    """Who asks: `person` is empty for the machine's owner."""

    person: str
    scope: str
    """read, submit or admin of a token; person or admin on the socket."""
    key: str = ""
    """Of a person: none (not brought yet), locked or unlocked; empty for the machine's owner."""
    salt: str = ""
    """With which the secret was derived from the key in their home."""


class UnlockRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's secret, from the key file in their home; on the socket only, kept in memory."""

    secret: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    """That of `Me`; a random one the first time, or anew."""
    anew: bool = False
    """It takes the place of the one that is known."""


class PersonLine(msgspec.Struct, frozen=True):
    """A user of this machine whom its owner let in."""

    name: str
    uid: int
    since_ms: int


class NewPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to let in; `uid` null: that of the login of this name."""

    name: str
    uid: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)] | None = None


class PersonAdded(msgspec.Struct, frozen=True):
    """Whether that changed anything, and the socket for other users; empty: there is none yet."""

    changed: bool
    socket: str


class TokenLine(msgspec.Struct, frozen=True):
    """A token of the asker's."""

    id: str
    scope: str
    name: str


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made."""

    scope: Literal["read", "submit", "admin"] = "read"
    name: str = ""


class TokenMade(msgspec.Struct, frozen=True):
    """Shown once."""

    token: str
    scope: str
    tcp: str = ""
    """Where the API takes tokens, as `api.tcp` says; empty: nowhere yet."""
