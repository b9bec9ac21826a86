"""What all peers together may have a node hold; and that the greediest pays for it."""

import pytest
import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError
from p2p.host.rpc.bounds import RpcConfig
from p2p.ids import PeerId, TrafficClass
from testnet.lone_peer import Ask, Told, answer, reply_bytes
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import simulated

BOB = PeerId("bob")
MB = 1024 * 1024
NEVER_S = -1.0
SMALL = RpcConfig(bodies_bytes_max=4 * MB)
GONE = (PeerUnreachableError, RemoteRefusalError, CallTimeoutError)


async def ask(peers: Peers, name: str, ask: Ask, body: bytes = b"") -> bytes:
    _, reply = await peers[name].call(
        BOB, ask, Told, traffic_class=TrafficClass.NORMAL, timeout_s=20, body=body
    )
    return reply


@simulated
async def test_whoever_has_most_held_is_cut_off_when_another_needs_room() -> None:
    async with rpc_peers(["bob", "mallory", "alice"], config=SMALL) as peers:
        peers["bob"].serve(Ask, answer, reply_bytes)
        ends: list[Exception] = []

        async def hoard() -> None:
            try:
                await ask(peers, "mallory", Ask("?", wait_s=NEVER_S), bytes(2 * MB))
            except GONE as exc:
                ends.append(exc)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hoard)
            nursery.start_soon(hoard)
            await trio.sleep(5)
            assert ends == []
            await ask(peers, "alice", Ask("?"), bytes(MB))
        assert [type(end) for end in ends] == [PeerUnreachableError] * 2


@simulated
async def test_the_greediest_itself_is_told_to_wait() -> None:
    async with rpc_peers(["bob", "mallory"], config=SMALL) as peers:
        peers["bob"].serve(Ask, answer, reply_bytes)
        async with trio.open_nursery() as nursery:

            async def hold() -> None:
                await ask(peers, "mallory", Ask("?", wait_s=5.0), bytes(3 * MB))

            nursery.start_soon(hold)
            await trio.sleep(2)
            with pytest.raises(RemoteRefusalError) as refusal:
                await ask(peers, "mallory", Ask("?"), bytes(2 * MB))
            assert refusal.value.code == "busy"
        await ask(peers, "mallory", Ask("?"), bytes(2 * MB))


@simulated
async def test_answers_that_all_become_ready_at_once_are_not_all_kept() -> None:
    async with rpc_peers(["bob", "mallory"], config=SMALL) as peers:
        peers["bob"].serve(Ask, answer, reply_bytes)
        got: list[int] = []
        refused: list[str] = []

        async def fetch() -> None:
            try:
                got.append(len(await ask(peers, "mallory", Ask("?", MB, wait_s=1.0))))
            except RemoteRefusalError as exc:
                refused.append(exc.code)

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(fetch)
        assert set(got) == {MB}
        assert set(refused) == {"busy"}
        assert len(got) >= 4
