"""Records as they are made, opened and kept."""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from p2p.errors import WireError
from p2p.identity.proofs import Proofs, owner_of, token_for_presence
from p2p.ids import LabId, NetworkId, PeerId
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.engine.port import Tables
from storage.engine.stored import stored
from storage.errors import CapabilityError
from storage.manifests.capability import parse_cap
from swarmnode.tasks.environments.records import RECORD_DOMAIN, EnvironmentRecord, KnownRecord

TABLE = "environments"
"""person NUL key -> EnvironmentRow."""
ENVIRONMENTS_KEPT_MAX = 10_000
"""Those that the people of one machine have used and not removed."""
_VALID_MS = 10 * 365 * 86_400_000
"""A digest does not grow old; what is no longer wanted is forgotten."""


class EnvironmentRow(Record, frozen=True):
    """What this machine keeps of one that its people have used."""

    known: KnownRecord
    source: str
    """The file that it was made from, for people."""
    used_ms: int
    is_private: bool = False
    """Machines of our own lab are told of it, and nobody else."""
    person: str = ""
    """Of several people of this machine; empty for its owner."""


class RecordOffice(msgspec.Struct, frozen=True):
    """Signs records as this machine, and opens those of others."""

    signer: Signer
    network: NetworkId
    lab: LabId
    """Ours."""
    proofs: Proofs | None
    """Whose machines others are; None where nobody has certificates."""
    wall_ms: Callable[[], int]

    def certify(self, record: EnvironmentRecord) -> Signed:
        """Signed by this machine, with what proves whose it is."""
        whole = replace(record, token=token_for_presence(self.proofs))
        expires_ms = self.wall_ms() + _VALID_MS
        return seal(
            self.signer, self.network, RECORD_DOMAIN, whole, sequence=0, expires_ms=expires_ms
        )

    def opened(self, sealed: Signed, key: bytes) -> KnownRecord:
        """What it says and who says so.

        Raises WireError, also where it is about another key or nothing can be read by it.
        """
        record = open_signed(self.signer, self.network, RECORD_DOMAIN, EnvironmentRecord, sealed)
        if record.key != key:
            raise WireError(
                "the record is about another environment: who asks, who built it or the node here "
                "runs another version of this software (after an update: restart the nodes)"
            )
        try:
            parse_cap(record.built.cap)
        except CapabilityError as exc:
            raise WireError(f"the record has no capability: {exc}") from exc
        if sealed.sender == self.signer.peer_id:
            return KnownRecord(record, sealed, self.lab)
        return KnownRecord(record, sealed, self._lab_of(sealed.sender, record.token))

    def stands(self, known: KnownRecord) -> bool:
        """Whether who signed it is of that lab still: of those removed nobody's word counts."""
        try:
            return self.opened(known.sealed, known.record.key).lab == known.lab
        except WireError:
            return False

    def _lab_of(self, peer: PeerId, token: bytes) -> LabId:
        """By what came along, else by certificates that it has shown here since."""
        owner = owner_of(self.proofs, peer, token)
        if owner is None and self.proofs is not None and (who := self.proofs.whose(peer, b"")):
            return who.lab
        return owner[1] if owner else LabId("")


def place_of(person: str, key: bytes) -> bytes:
    """Where a person's row of that key lies."""
    return person.encode() + b"\0" + key


def row_of(tables: Tables, person: str, key: bytes) -> EnvironmentRow | None:
    """A person's, of that key."""
    data = tables.get(TABLE, place_of(person, key))
    return None if data is None else stored(EnvironmentRow, data, "state.lmdb")


def rows_in(tables: Tables) -> list[EnvironmentRow]:
    """All that are kept here."""
    return [
        stored(EnvironmentRow, data, "state.lmdb")
        for _, data in tables.scan(TABLE, limit=ENVIRONMENTS_KEPT_MAX)
    ]
