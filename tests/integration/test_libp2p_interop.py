"""Gossipsub among nodes with interop, and where it is not offered."""

import os
from pathlib import Path

import pytest
import trio

from swarmnode.boot.descriptors import shares_of
from swarmnode.boot.real_edges import build_edges, wall_ms
from swarmnode.errors import ConfigError
from swarmnode.home import enrol
from swarmnode.home.config import Config, NetworkSection
from swarmnode.home.folders import Home
from tests.interop.open_node import key, node
from tests.unit.swarmnode.test_enrol import ANN


async def test_what_is_said_at_one_node_is_heard_at_another() -> None:
    with trio.fail_after(20):
        async with node("alice") as alice, node("bob") as bob:
            assert alice.interop is not None
            assert bob.interop is not None
            await bob.host.dial(alice.address)
            await alice.interop.listens(bob.host.peer_id, 10)
            await alice.interop.say(b"good day")  # heard, although no mesh has grown yet
            assert await bob.interop.heard.receive() == (alice.host.peer_id, b"good day")


async def test_nobody_is_heard_where_nobody_is() -> None:
    with trio.fail_after(20):
        async with node() as served:
            assert served.interop is not None
            await served.interop.say(b"hello?")
            with pytest.raises(trio.TooSlowError):
                await served.interop.listens(key("nobody").peer_id, 0.05)
            with pytest.raises(ValueError, match="limit 4096"):
                await served.interop.say(bytes(4097))


def test_a_private_network_cannot_have_it(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path, tmp_path / "cache", tmp_path / "run")
    enrol.found_network(home, ANN, os.urandom, wall_ms())
    config = Config(network=NetworkSection(interop=True))
    with pytest.raises(ConfigError, match="interop is for open networks"):
        build_edges(config, home, shares_of(1024))
