"""Peers in processes of their own."""

from collections.abc import AsyncIterator

import pytest

from testnet.lone_process import StartPeer, lone_peers


@pytest.fixture
async def start_peer() -> AsyncIterator[StartPeer]:
    """`await start_peer("bob")` starts a process and returns once it can be reached."""
    async with lone_peers() as start:
        yield start
