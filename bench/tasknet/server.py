"""What tasks of the bench talk to: sends, echoes, resets or counts, as each connection asks."""

import socket
import struct
from typing import Final

import trio

CHUNK: Final = bytes(256 * 1024)


async def main() -> None:
    """Print our port, then serve."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(_serve, listeners)


async def _serve(stream: trio.SocketStream) -> None:
    try:
        head = b""
        while len(head) < 9:
            head += await stream.receive_some(9 - len(head))
        await _do(head[:1], int.from_bytes(head[1:]), stream)
    except trio.BrokenResourceError:
        pass  # who asked has gone


async def _do(what: bytes, size: int, stream: trio.SocketStream) -> None:
    if what == b"P":
        for left in range(size, 0, -len(CHUNK)):
            await stream.send_all(CHUNK[:left])
    elif what == b"E":
        async for data in stream:
            await stream.send_all(data)
    elif what == b"R":
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif what == b"H":
        count = 0
        async for data in stream:
            count += len(data)
        await stream.send_all(count.to_bytes(8))


if __name__ == "__main__":
    trio.run(main)
