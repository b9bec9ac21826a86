"""A peer in a process of its own: host and RPC, and nothing above them. For tests and benchmarks.

    python -m testnet.lone_peer NAME [--listen MULTIADDR] [--dial MULTIADDR]

It prints its address once it can be reached and runs until its standard input ends. Its key is
made of its name, it admits everybody, and it answers `Ask`.
"""

import argparse
import math

import trio

from p2p.host.admission.port import Admission, OpenAdmission
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import NetworkId
from p2p.wire.codec import Message

NETWORK = NetworkId("lonepeers")
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


class Ask(Message, frozen=True, tag=234):
    """A question: answered after `wait_s` (never, when negative) with a body of that length."""

    text: str
    reply_bytes: int = 0
    wait_s: float = 0.0


class Told(Message, frozen=True, tag=235):
    """The answer: the same text, and how many bytes came with the question."""

    text: str
    got_bytes: int


async def answer(caller: Caller, ask: Ask, body: bytes) -> tuple[Message, bytes]:
    """Do what the question says."""
    if ask.wait_s:
        await trio.sleep(ask.wait_s if ask.wait_s > 0 else math.inf)
    return Told(ask.text, len(body)), bytes(ask.reply_bytes)


def reply_bytes(ask: Ask, _body_len: int) -> int:
    """How long the body of the answer is."""
    return ask.reply_bytes


def lone_host(
    name: str,
    listen: str = LOOPBACK,
    config: HostConfig | None = None,
    admission: Admission | None = None,
) -> Libp2pHost:
    """A host whose key is made of its name."""
    seed = name.encode().ljust(32, b".")
    return Libp2pHost(seed, NETWORK, [listen], admission or OpenAdmission(), config)


async def serve(name: str, listen: str, dial: str | None) -> None:
    """Run until standard input ends."""
    host = lone_host(name, listen)
    rpc = Rpc(host)
    rpc.serve(Ask, answer, reply_bytes)
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        if dial is not None:
            await host.dial(dial)
        print(host.addresses()[0], flush=True)
        await trio.to_thread.run_sync(until_input_ends, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def until_input_ends() -> None:
    """Read and forget; for a thread of a process that lives as long as its parent wants."""
    try:
        while input():
            pass
    except EOFError:
        return


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--listen", default=LOOPBACK)
    parser.add_argument("--dial")
    arguments = parser.parse_args()
    trio.run(serve, arguments.name, arguments.listen, arguments.dial)


if __name__ == "__main__":
    main()
