"""The lab's key brings a person back who wanted that, and everybody is told."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.identity.keys import KeySigner
from p2p.wire.codec import encode
from storage.facade import OwnedNames
from swarmnode.errors import RecoveryRefusedError
from swarmnode.limits import OPENINGS_KEPT_MAX
from swarmnode.node import Node
from swarmnode.recovery import lab as lab_room
from swarmnode.recovery.lab import (
    OPENED_NAME,
    LabRecovery,
    Opening,
    Openings,
    openings_in,
    phrase_by_lab,
)
from swarmnode.recovery.phrase import seed_of
from testnet.sim.chaos.run import SETTINGS
from testnet.sim.seeded import simulated, until
from testnet.sim.world import World

SEED, LAB, OTHER = bytes(range(32)), bytes([7]) * 32, bytes([8]) * 32
ANN = KeySigner.from_seed(SEED).peer_id


@asynccontextmanager
async def network() -> AsyncIterator[Node]:
    world = World(5, ["m0", "m1", "m2"], settings=SETTINGS, labs=1)
    async with world.running():
        await trio.sleep(20)
        yield world["m0"].up


def owned(node: Node, seed: bytes) -> OwnedNames:
    return node.storage.names.person(node.edges.signer.from_seed(seed))


def recovery(node: Node, wish: str, seed: bytes = SEED, ahead_ms: int = 0) -> LabRecovery:
    lab = KeySigner.from_seed(LAB).peer_id
    persons = owned(node, seed) if seed else None
    parts = (lambda: False, os.urandom, lambda: node.edges.wall_ms() + ahead_ms)
    return LabRecovery(lab, owned(node, LAB), wish, *parts, persons=persons, seed=seed)


async def phrase(node: Node, lab: bytes = LAB, person: str = ANN) -> str:
    parts = (owned(node, SEED), owned(node, lab), node.edges.wall_ms())
    return await phrase_by_lab(person, "ann", "bob (desk)", lab, *parts)


async def look(one: LabRecovery) -> tuple[str, ...]:
    """What it tells after one look."""
    with trio.move_on_after(lab_room.LAB_NAMES_AGAIN_S):
        await one.run()
    return one.notes()


@simulated
async def test_it_is_off_unless_wanted_and_can_be_taken_back() -> None:
    async with network() as node:
        for wish in ("", "off"):
            assert await look(recovery(node, wish)) == ()
            with pytest.raises(RecoveryRefusedError, match="has not let this lab's key"):
                await phrase(node)
        assert "lab recovery is on" in (await look(recovery(node, "on")))[0]
        assert "lab recovery is on" in (await look(recovery(node, "")))[0], "on another machine"
        assert seed_of(await phrase(node)) == SEED
        assert "lab recovery is on" not in str(await look(recovery(node, "off")))
        with pytest.raises(RecoveryRefusedError):
            await phrase(node)
        await look(recovery(node, "on"))
        assert seed_of(await phrase(node)) == SEED, "on again"


@simulated
async def test_whoever_reads_a_phrase_is_told_to_the_whole_lab() -> None:
    async with network() as node:
        await look(recovery(node, "on"))
        strangers = recovery(node, "", b"")
        assert await look(strangers) == ()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(strangers.run)
            await phrase(node)
            await until(lambda: bool(strangers.notes()), within_s=2 * lab_room.OPENINGS_LOOK_S)
            nursery.cancel_scope.cancel()
        assert "phrase of ann, by bob (desk)" in strangers.notes()[0]
        assert await look(recovery(node, "", b"", lab_room.TOLD_MS + 1000)) == ()


@simulated
async def test_another_lab_s_key_and_another_person_s_box_open_nothing() -> None:
    async with network() as node:
        await look(recovery(node, "on"))
        with pytest.raises(RecoveryRefusedError, match="has not let this lab's key"):
            await phrase(node, OTHER)
        with pytest.raises(RecoveryRefusedError, match="another key"):
            await phrase(node, person=KeySigner.from_seed(OTHER).peer_id)
        known = await owned(node, LAB).read(OPENED_NAME)
        assert known is None, "nothing was opened, so nothing is told"


@simulated
async def test_the_newest_openings_are_told() -> None:
    async with network() as node:
        await look(recovery(node, "on"))
        for _ in range(OPENINGS_KEPT_MAX + 2):
            await phrase(node)
        known = await owned(node, LAB).read(OPENED_NAME)
        assert known is not None
        assert len(openings_in(known.value).last) == OPENINGS_KEPT_MAX


@simulated
async def test_what_cannot_be_told_of_openings_ends_no_node() -> None:
    async with network() as node:
        now_ms = node.edges.wall_ms()
        true = Opening(ANN, "ann", "bob (desk)", now_ms)
        made_up = [
            Opening(ANN, "ann", "bob", 2**60),
            Opening(ANN, "ann", "bob", -1),
            Opening(ANN, "ann\nroot: all is well", "bob", now_ms),
        ]
        value = encode(Openings((*made_up, true)))
        await owned(node, LAB).write(OPENED_NAME, value, expected=0, fence=0)
        assert await look(recovery(node, "")) == (str(true),)
