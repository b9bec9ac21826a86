"""Carries out attacks on one address, in a process of its own.

    python -m testnet.attack.attacker ADDRESS

Each line of standard input names the attack to go on with (an empty one: none). It answers `on`
once the attack has its full effect, `off` once nothing is left of it.
"""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

from testnet.attack import door, inside

Flood = Callable[[str, Callable[[], None]], Awaitable[None]]

DOOR: Final[Mapping[str, Flood]] = {
    flood.__name__: flood
    for flood in (
        door.silent,
        door.silent_neighbours,
        door.stalled,
        door.drips,
        door.aborts,
        door.handshakes,
    )
}

INSIDE: Final[Mapping[str, Flood]] = {
    flood.__name__: flood
    for flood in (
        inside.streams,
        inside.resets,
        inside.pings,
        inside.bombs,
        inside.segments,
        inside.casts,
        inside.junk,
        inside.forgeries,
        inside.calls,
        inside.cancels,
        inside.bodies,
        inside.replies,
        inside.half_frames,
    )
}

FLOODS: Final[Mapping[str, Flood]] = {**DOOR, **INSIDE}


async def obey(address: str) -> None:
    """Do what the lines say until there are no more."""
    print("ready", flush=True)
    line = await _line()
    while line is not None:
        if not line:
            print("off", flush=True)
            line = await _line()
            continue
        async with trio.open_nursery() as nursery:
            nursery.start_soon(FLOODS[line], address, lambda: print("on", flush=True))
            line = await _line()
            nursery.cancel_scope.cancel()


async def _line() -> str | None:
    try:
        return await trio.to_thread.run_sync(input, abandon_on_cancel=True)
    except EOFError:
        return None


def main() -> None:
    """Read the address and obey."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    trio.run(obey, parser.parse_args().address)


if __name__ == "__main__":
    main()
