"""Finds, takes in and forgets the environments that this machine's people use."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from p2p.errors import WireError
from p2p.gossip.items import RESOURCES
from p2p.ids import PeerId
from p2p.mesh import Mesh
from p2p.wire.codec import decode_as, encode
from p2p.wire.envelope import Signed
from storage.engine.port import WriteView
from storage.errors import ObjectUnknownError
from storage.facade import NameStore, ObjectHealth, Objects
from storage.ids import Address
from storage.manifests.capability import parse_cap
from swarmnode.edges import Edges, Identity
from swarmnode.environments.lab import LabRecords
from swarmnode.environments.records import (
    TABLE,
    EnvironmentRow,
    RecordOffice,
    place_of,
    row_of,
    rows_in,
)
from swarmnode.environments.shelf import RecordShelf
from swarmnode.errors import EnvironmentDamagedError
from swarmnode.market.explain import NOBODY
from swarmnode.resources.advert import read_advert
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.environments.naming import RECORD, TREE
from swarmnode.tasks.environments.records import KnownRecord, usable

_RECORD_BYTES_MAX = 64 * 1024


class EnvironmentService:
    """Of one node; it keeps what its people use in a table."""

    def __init__(
        self,
        edges: Edges,
        who: Identity,
        names: NameStore,
        objects: Objects,
        mesh: Mesh,
    ) -> None:
        self._edges, self._who = edges, who
        self.office = RecordOffice(
            edges.signer, edges.network, who.lab, edges.proofs, edges.wall_ms
        )
        """Signs what is built here."""
        self._objects, self._gossip = objects, mesh.gossip
        self.is_built: Callable[[bytes], bool] = lambda _key: False
        """Whether a task of this machine's people builds that one just now; set by the node."""
        self._lab = LabRecords(mesh, who.lab, self._of_key, lambda key: self.is_built(key))
        self._shelf = RecordShelf(names, edges.signer)

    def all(self, person: str = "") -> Sequence[EnvironmentRow]:
        """What is kept here for a person, the one used last first."""
        rows = [row for row in rows_in(self._edges.state) if row.person == person]
        return sorted(rows, key=lambda row: -row.used_ms)

    def warm(self, name: str) -> tuple[PeerId, ...]:
        """Machines that say that they have it laid out."""
        adverts = self._gossip.items(RESOURCES).items()
        told = [(peer, read_advert(item.body)) for peer, item in adverts]
        return tuple(peer for peer, advert in told if advert and name in advert.environments)

    def addresses(self) -> frozenset[Address]:
        """Objects of those that any of this machine's people has on their list."""
        caps = (row.known.record.built.cap for row in rows_in(self._edges.state))
        return frozenset(parse_cap(cap).address for cap in caps)

    async def find(self, key: bytes, source: str, person: str = "") -> EnvironmentRow | PeerId:
        """One of that key that may be used and can be read; it counts as used now.

        Else the machine of our lab that says it has it built now, or nobody. StoreFullError.
        """
        row = row_of(self._edges.state, person, key)
        is_good = row is not None and self.office.stands(row.known)
        if row is None or not is_good or not await self._is_there(row.known):
            known, builder = await self._told(key)
            if known is None or not await self._is_there(known):
                return builder
            row = EnvironmentRow(known, source, 0, person=person)
        row = replace(row, used_ms=self._edges.wall_ms())
        await self._keep(row)
        return row

    def _of_key(self, key: bytes) -> Signed | None:
        """Whoever of this machine's people has used it."""
        rows = (row for row in rows_in(self._edges.state) if row.known.record.key == key)
        return next((row.known.sealed for row in rows), None)

    async def _told(self, key: bytes) -> tuple[KnownRecord | None, PeerId]:
        """What may be used of that key: as our lab's machines tell, else as the pool has it.

        And who of our lab has it built now.
        """
        told = await self._lab.read(key)
        known = usable(self._opened_all(told.records, key), self._who.lab)
        if known is None:  # who says that it is of our lab may only say so
            known = usable(self._opened_all(await self._shelf.read(key), key), self._who.lab)
        return known, min(told.builders, default=NOBODY)

    def _opened_all(self, told: Sequence[Signed], key: bytes) -> list[KnownRecord]:
        found = []
        for sealed in told:
            try:
                found.append(self.office.opened(sealed, key))
            except WireError:  # somebody put something else there
                continue
        return found

    async def _is_there(self, known: KnownRecord) -> bool:
        cap = parse_cap(known.record.built.cap)
        try:
            stat = await self._objects.stat(cap.address)
        except ObjectUnknownError:
            return False
        return stat.health in (ObjectHealth.WHOLE, ObjectHealth.DEGRADED)

    async def take_in(
        self,
        key: bytes,
        source: str,
        left: Sequence[StoredFile],
        *,
        is_private: bool,
        person: str = "",
    ) -> EnvironmentRow:
        """What a build has left: kept here, and told to others unless it is private.

        Raises EnvironmentDamagedError for anything but the record of that key and folder.
        """
        files = {file.name: file for file in left}
        if RECORD not in files or TREE not in files:
            raise EnvironmentDamagedError("the build left no environment with a record")
        known = await self._opened(files[RECORD], key)
        if known.record.built.cap != files[TREE].cap:
            raise EnvironmentDamagedError("the record is of another folder than the build left")
        if usable([known], self._who.lab) is None:
            raise EnvironmentDamagedError("the machine that built it is not of our lab")
        row = EnvironmentRow(known, source, self._edges.wall_ms(), is_private, person)
        await self._keep(row)
        if not is_private:
            await self._shelf.add(key, known.sealed)
        return row

    async def _opened(self, file: StoredFile, key: bytes) -> KnownRecord:
        held = bytearray()
        async for piece in self._objects.get(parse_cap(file.cap)):
            held += piece
            if len(held) > _RECORD_BYTES_MAX:
                raise EnvironmentDamagedError("the record of the build is too long")
        try:
            sealed = decode_as(Signed, bytes(held), _RECORD_BYTES_MAX)
            return self.office.opened(sealed, key)
        except WireError as exc:
            raise EnvironmentDamagedError(f"the record of the build is no good: {exc}") from exc

    async def forget(self, key: bytes, person: str = "") -> EnvironmentRow | None:
        """It is not known here any more; what it was, for who frees its object."""
        row = row_of(self._edges.state, person, key)

        def apply(view: WriteView) -> None:
            view.delete(TABLE, place_of(person, key))

        await self._edges.state.transact(apply)
        return row

    async def _keep(self, row: EnvironmentRow) -> None:
        def apply(view: WriteView) -> None:
            view.put(TABLE, place_of(row.person, row.known.record.key), encode(row))

        await self._edges.state.transact(apply)
