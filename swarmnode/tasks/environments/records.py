"""What tasks carry of an environment, what its builder signs, and whom to believe. Pure."""

from collections.abc import Sequence
from typing import Final

from p2p.ids import LabId
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed
from swarmnode.tasks.environments.naming import name_of

RECORD_DOMAIN: Final = "swarm/environments/1"


class BuiltEnvironment(Record, frozen=True):
    """What a task needs of an environment that was built."""

    cap: str
    """Capability of its folder."""
    digest: bytes
    """BLAKE3 of the bytes of that object, as its builder signed it."""
    size_bytes: int
    machine: str
    """The kind of machine it runs on, as uname has it: x86_64, aarch64."""
    glibc: str = ""
    """The oldest C library of a machine that it can run with; empty: it brings one, or nobody has
    looked."""
    is_image: bool = False
    """A whole system, which its task may write to; older records do not say."""
    cpu_level: int = 0
    """Of x86-64, which a processor must have, 1 to 4; 0: nobody says."""

    @property
    def name(self) -> str:
        """As a name among environments."""
        return name_of(self.cap)


class EnvironmentRecord(Record, frozen=True):
    """What its builder signs of one environment."""

    key: bytes
    built: BuiltEnvironment
    python: str
    """The whole version of its interpreter."""
    glibc: str
    """The newest version of the C library that its packages name; only one of conda brings none."""
    uv: str
    packages: int
    token: bytes = b""
    """The builder's certificates: which lab it is of."""


class KnownRecord(Record, frozen=True):
    """A record, and the lab of the machine that signed it; empty where nothing proves one."""

    record: EnvironmentRecord
    sealed: Signed
    lab: LabId


def usable(known: Sequence[KnownRecord], ours: LabId) -> KnownRecord | None:
    """One that our own lab built, else one whose digest builders of two labs signed."""
    for one in known:
        if ours and one.lab == ours:
            return one
    for one in known:
        digest = one.record.built.digest
        if len({other.lab for other in known if other.record.built.digest == digest} - {""}) > 1:
            return one
    return None
