"""A world of strangers and of machines of one person, who keep copies of each other's things."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from p2p.identity.keys import KeySigner
from p2p.identity.records import MembershipToken
from p2p.ids import PeerId
from storage.facade import ObjectKind
from swarmnode.node import Node
from swarmnode.recovery.box import open_box, seal_to
from swarmnode.recovery.copies.shelf import CopyShelf
from swarmnode.tasks.spec import Shape, TaskSpec
from testnet.sim.chaos.run import SETTINGS
from testnet.sim.seeded import until
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import World

NAMES = ["m0", "m1", "m2", "laptop", "server", "blank", "later"]
SEED = bytes(range(32))
NOWHERE = TaskSpec(run=("true",), shape=Shape(cpu_millis=10**9))
"""A task that waits for a machine that nobody has."""


@dataclass
class FakeVault:
    """As HomeVault."""

    seed: bytes = SEED
    """Empty: as of a home joined by `invite --own-machine`."""
    recovering: bool = False
    person: PeerId = KeyedHashSigner(PeerId("")).from_seed(SEED).peer_id

    def seal(self, text: bytes) -> bytes:
        return seal_to(KeySigner.from_seed(SEED).peer_id, "test", text, os.urandom)

    def unseal(self, sealed: bytes) -> bytes:
        return open_box(self.seed, "test", sealed)

    def is_recovering(self) -> bool:
        return self.recovering

    def keys(self) -> tuple[bytes, bytes]:
        return b"", b""

    def names(self) -> tuple[str, str]:
        return "ann", ""

    def named(self, person: str, lab: str) -> MembershipToken | None:
        return None

    def recovered(self, lab_seed: bytes, network_seed: bytes) -> None:
        self.recovering = False


@asynccontextmanager
async def machines(seed: int = 5) -> AsyncIterator[World]:
    """Three strangers, and `laptop` and `server` of one person; others are not there yet."""
    world = World(seed, NAMES, settings=SETTINGS, labs=1)
    world.vaults = {"laptop": FakeVault(), "server": FakeVault()}
    world.vaults["blank"] = FakeVault(recovering=True)
    async with world.running(start=False):
        for name in NAMES[:-2]:
            await world.start(name)
        await trio.sleep(20)
        yield world


async def put(node: Node, text: str) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield text.encode()

    await node.storage.objects.put(parts(), name=text)


def things(node: Node) -> set[str]:
    hidden = (ObjectKind.KEYRING, ObjectKind.LOG)
    return {entry.name for entry in node.storage.objects.entries() if entry.mark.kind not in hidden}


def copies_held(node: Node) -> int:
    return sum(entry.mark.kind == ObjectKind.KEYRING for entry in node.storage.objects.entries())


async def is_copied(*nodes: Node) -> None:
    for node in nodes:
        assert node.recovering.own is not None
        recovery = node.recovering.own
        await until(lambda: not recovery.is_behind, within_s=120, look_s=0.1)  # noqa: B023


def shelf(node: Node) -> CopyShelf:
    key = node.edges.signer.from_seed(SEED)
    return CopyShelf(node.storage.names.person(key), SEED, node.edges.entropy)


def is_back(world: World) -> bool:
    vault = world.vaults["blank"]
    return not vault.is_recovering()


async def recover(world: World) -> Node:
    node = await world.start("blank")
    await until(partial(is_back, world), within_s=300, look_s=0.1)
    return node
