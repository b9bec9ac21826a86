"""Bob, who is attacked, and Alice, who must go on being served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from p2p.errors import (
    AdmissionError,
)
from p2p.host.addresses import parse_address
from p2p.host.admission.port import Admission, AdmitStream, OpenAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from testnet.lone_peer import Ask, Told, answer, lone_host, reply_bytes

MULTISTREAM = b"\x13/multistream/1.0.0\n"


@dataclass
class Scene:
    """Bob, who is attacked, and Alice, who must go on being served."""

    bob: Libp2pHost
    alice: Rpc
    admission: Admission

    @property
    def address(self) -> tuple[str, int]:
        where = parse_address(self.bob.addresses()[0])
        return where.host, where.port

    async def still_serves(self) -> None:
        """Alice's connection lives, and a newcomer gets in."""
        with trio.fail_after(5):
            told, _ = await self.alice.call(
                self.bob.peer_id, Ask("?"), Told, traffic_class=TrafficClass.NORMAL, timeout_s=5
            )
        assert told.text == "?"
        newcomer = lone_host("newcomer", admission=self.admission)
        Rpc(newcomer)
        with trio.fail_after(8):
            async with trio.open_nursery() as nursery:
                await nursery.start(newcomer.run)
                await newcomer.dial(self.bob.addresses()[0])
                nursery.cancel_scope.cancel()


class Greeting(OpenAdmission):
    """Whoever dials has to greet."""

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> Caller:
        if initiator:
            await stream.send(b"good morning")
        elif await stream.receive() != b"good morning":
            raise AdmissionError("malformed", "no manners")
        return await super().admit(peer, stream, initiator)


@asynccontextmanager
async def scene(admission: Admission | None = None) -> AsyncIterator[Scene]:
    admission = admission or OpenAdmission()
    hosts = [lone_host(name, admission=admission) for name in ("bob", "alice")]
    rpcs = [Rpc(host) for host in hosts]
    rpcs[0].serve(Ask, answer, reply_bytes)
    downs: list[PeerId] = []
    rpcs[1].on_peer(lambda peer, is_up: None if is_up else downs.append(peer))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for rpc in rpcs:
                await nursery.start(rpc.run)
            for host in hosts:
                await nursery.start(host.run)
            await hosts[1].dial(hosts[0].addresses()[0])
            here = Scene(hosts[0], rpcs[1], admission)
            yield here
            await here.still_serves()
            assert downs == []
            nursery.cancel_scope.cancel()
