"""A peer that can be attacked: host, RPC, membership and gossip, and an answer to `Vitals`.

    python -m testnet.attack.victim NAME [--dead-after SECONDS]

It prints its address and runs until its standard input ends.
"""

import argparse
import gc
import os
import random
import resource
import time

import trio

from p2p.gossip.config import GossipConfig
from p2p.gossip.service import GossipService
from p2p.host.libp2p.host import HostConfig
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.identity.keys import KeySigner
from p2p.ids import LabId, PeerId
from p2p.link.config import LinkConfig
from p2p.membership.config import MembershipConfig
from p2p.membership.ourselves import Ourselves, Profile
from p2p.membership.service import MembershipService
from p2p.wire.codec import Message
from p2p.wire.envelope import Signer
from testnet.lone_peer import NETWORK, Ask, answer, lone_host, reply_bytes, until_input_ends


class Vitals(Message, frozen=True, tag=237):
    """How are you?"""


class Health(Message, frozen=True, tag=238):
    """What an attack could have left behind, and what it was answered with."""

    tasks: int
    fds: int
    cpu_ms: int
    """User and system time since the start."""
    casts_unknown: int
    refused: int
    """Items and presences of no worth, and messages for which there was no time."""
    signatures_checked: int
    body_bytes_held: int


class CountingSigner:
    """Counts the signatures it has checked (a `Signer`)."""

    def __init__(self, seed: bytes) -> None:
        self.checked = 0
        self._keys = KeySigner.from_seed(seed)
        self.peer_id = self._keys.peer_id
        self.sign = self._keys.sign

    def verifies(self, peer: PeerId, data: bytes, signature: bytes) -> bool:
        """True when the peer signed that."""
        self.checked += 1
        return self._keys.verifies(peer, data, signature)

    def from_seed(self, seed: bytes) -> Signer:
        """Another key."""
        return self._keys.from_seed(seed)


class Victim:
    """One peer and all that runs on it."""

    def __init__(self, name: str, dead_after_s: float) -> None:
        link = LinkConfig(ping_every_s=dead_after_s / 3, dead_after_s=dead_after_s)
        self.host = lone_host(name, config=HostConfig(link=link))
        self.rpc = Rpc(self.host)
        self.signer = CountingSigner(name.encode().ljust(32, b"."))
        wall_ms = time.time_ns() // 1_000_000
        self.members = MembershipService(
            MembershipConfig(),
            self.rpc,
            Ourselves(self.signer, NETWORK, Profile(name, LabId("lab"), "")),
            addresses=self.host.addresses,
            rng=random.Random(name),  # noqa: S311 - dice, not secrets
            incarnation=wall_ms,
        )
        self.gossip = GossipService(
            GossipConfig(),
            self.rpc,
            self.members,
            self.signer,
            NETWORK,
            rng=random.Random(name),  # noqa: S311 - dice, not secrets
            wall_ms=lambda: time.time_ns() // 1_000_000,
        )
        self.rpc.serve(Ask, answer, reply_bytes)
        self.rpc.serve(Vitals, self.tell)

    async def tell(self, caller: Caller, question: Vitals, body: bytes) -> tuple[Message, bytes]:
        """What can be counted now."""
        await trio.lowlevel.checkpoint()
        used = resource.getrusage(resource.RUSAGE_SELF)
        stats = self.rpc.stats()
        health = Health(
            tasks=trio.lowlevel.current_statistics().tasks_living,
            fds=len(os.listdir("/proc/self/fd")),
            cpu_ms=round((used.ru_utime + used.ru_stime) * 1000),
            casts_unknown=stats.casts_unknown,
            refused=self.gossip.refused
            + self.gossip.dropped
            + self.members.refused
            + self.members.dropped,
            signatures_checked=self.signer.checked,
            body_bytes_held=stats.body_bytes_held,
        )
        return health, b""

    async def run(self) -> None:
        """Run until standard input ends."""
        async with trio.open_nursery() as nursery:
            for part in (self.rpc.run, self.host.run, self.members.run, self.gossip.run):
                await nursery.start(part)
            print(self.host.addresses()[0], flush=True)
            await trio.to_thread.run_sync(until_input_ends, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--dead-after", type=float, default=15.0)
    arguments = parser.parse_args()
    gc.freeze()  # as the daemon does: a collection looks at what a node has, not at its modules
    trio.run(Victim(arguments.name, arguments.dead_after).run)


if __name__ == "__main__":
    main()
