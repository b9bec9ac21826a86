"""Objects put, read and given up meanwhile; and what was promised of them."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import trio

from p2p.ids import PeerId
from storage.errors import StorageError
from storage.facade import ReadCap
from storage.ids import Address, ShardRoot
from storage.manifests.manifest import read_manifest
from storage.records.holding import newest
from storage.records.wider import placed, read_more
from swarmnode.node import Node
from testnet.sim.chaos.options import Outcome
from testnet.sim.seeded import until
from testnet.sim.world import SimMachine, World

LACKING_EVERY_S: Final = 2.0
SIZES: Final = (100, 30_000, 200_000)

Places = list[list[tuple[ShardRoot, PeerId | None]]]
"""Per segment, per shard: its root and who holds it."""


@dataclass(slots=True)
class Stored:
    """An acknowledged object."""

    cap: ReadCap
    data: bytes
    owner: str
    n: int
    spare: int
    """Shards that may be lost for good and it can still be read."""


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


class ObjectWork:
    """S1: what was acknowledged can be read. S2: never wrong bytes. S4: repair comes to an end."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self._world, self._outcome = world, outcome
        options = outcome.options
        self._dice = random.Random(f"objects/{options.seed}/{options.nodes}")  # noqa: S311
        self._objects: list[Stored] = []
        self._has_lost_disk: dict[str, None] = {}

    async def put(self, name: str, node: Node) -> None:
        """Somebody at a machine stores something."""
        data = self._dice.randbytes(self._dice.choice(SIZES))
        try:
            receipt = await node.storage.objects.put(_whole(data), name="chaos")
        except StorageError:
            self._outcome.reached["put refused"] += 1
            return
        spare = len(receipt.holders) - receipt.k
        self._objects.append(Stored(receipt.cap, data, name, receipt.n, spare))
        self._outcome.reached["put"] += 1

    async def read(self, name: str, node: Node) -> None:
        """Somebody at a machine reads something."""
        if self._objects:
            await self._compare(self._dice.choice(self._objects), name, node)

    async def give_up(self, name: str, node: Node) -> None:
        """Somebody no longer wants what was put from a machine."""
        ours = [stored for stored in self._objects if stored.owner == name]
        if name in self._has_lost_disk or not ours:
            return
        stored = self._dice.choice(ours)
        self._objects.remove(stored)
        try:
            was_ours = await node.storage.objects.forget(stored.cap.address)
        except StorageError:
            self._outcome.reached["forget refused"] += 1
            return
        self._outcome.reached["forgotten"] += 1
        if not was_ours:
            self._violated(f"S1: {name} does not know an object it put")

    async def _compare(self, stored: Stored, name: str, node: Node) -> bool:
        """Whatever comes is what was put; False when nothing comes now."""
        found = bytearray()
        try:
            async for chunk in node.storage.objects.get(stored.cap):
                found += chunk
        except StorageError:
            self._outcome.reached["read refused"] += 1
            return False
        if bytes(found) != stored.data:
            self._violated(f"S2: {name} read other bytes than {stored.owner} put")
        self._outcome.reached["read"] += 1
        return True

    # -- faults that cost shards

    async def rot(self) -> None:
        """A bit of one shard changes on a disk; its machine is the next to read the object."""
        enough = self._outcome.options.down_max + 2
        could = [stored for stored in self._objects if stored.spare >= enough]
        if not could:
            return
        stored = self._dice.choice(could)
        held = [
            (root, machine)
            for row in self._places(stored.cap.address)
            for root, peer in row
            if (machine := self._up(peer)) is not None and _has(machine, root)
        ]
        if held:
            root, machine = self._dice.choice(held)
            stored.spare -= 1
            await machine.shards.rot(root)
            self._outcome.reached["rotten"] += 1
            with self._world.client(machine.name) as node:
                await self._compare(stored, machine.name, node)

    def lose_disk(self, name: str) -> None:
        """A machine's shards are gone: only what has some to spare is still promised."""
        self._has_lost_disk[name] = None
        self._objects = [stored for stored in self._objects if stored.spare >= 1]

    async def until_whole(self, late_s: float) -> None:
        """S4: every object has all its shards again, on machines that run."""
        try:
            await until(lambda: not self._lacking(), within_s=late_s, look_s=LACKING_EVERY_S)
        except trio.TooSlowError:
            for stored, live, want in self._lacking():
                words = f"{live} of {want} shards of an object of {stored.owner} live"
                self._violated(f"S4: {words} after {late_s:.0f} s")

    # -- at the end

    async def check(self, late_s: float) -> None:
        """What was acknowledged and not given up is whole, and can be read anywhere."""
        await self.until_whole(late_s)
        for stored in self._objects:
            reader = self._dice.choice(sorted(self._world.machines))
            if not await self._compare(stored, reader, self._world[reader].up):
                words = f"an object that {stored.owner} put cannot be read by {reader}"
                self._violated(f"S1: {words}")

    # -- inside

    def _violated(self, what: str) -> None:
        self._outcome.violations.append(f"{what} (at {trio.current_time():.1f} s)")

    def _lacking(self) -> list[tuple[Stored, int, int]]:
        lacking = []
        for stored in self._objects:
            want = min(stored.n, len(self._world.machines))
            live = self._live(stored.cap.address)
            if live < want:
                lacking.append((stored, live, want))
        return lacking

    def _live(self, address: Address) -> int:
        """Shards that are where the newest record says, of the worst segment. No messages."""
        counts = [
            sum((machine := self._up(peer)) is not None and _has(machine, r) for r, peer in row)
            for row in self._places(address)
        ]
        return min(counts, default=0)

    def _places(self, address: Address) -> Places:
        """What all running machines together know of an object of one page."""
        nodes = [m.node for m in self._world.machines.values() if m.node is not None]
        known = [node.storage.holders.get(address) for node in nodes]
        holding = newest([one for one in known if one is not None])
        manifests = (node.storage.leases.manifest(address) for node in nodes)
        data = next((one for one in manifests if one is not None), None)
        if holding is None or data is None:
            return []
        manifest = read_manifest(address, data)
        parts = (node.storage.leases.manifest(holding.more) for node in nodes if holding.more)
        body = next((one for one in parts if one is not None), None)
        more = None if body is None else read_more(holding, manifest.n, body)
        segments = placed(manifest, manifest.segments, holding, more)
        return [list(zip(one.roots, one.row, strict=True)) for one in segments]

    def _up(self, peer: PeerId | None) -> SimMachine | None:
        found = (m for m in self._world.machines.values() if m.peer == peer and m.node is not None)
        return next(found, None)


def _has(machine: SimMachine, root: ShardRoot) -> bool:
    return machine.shards.length(root) is not None
