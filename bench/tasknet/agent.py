"""A program that measures its own network when it is told to: in a task, and outside of one.

    python agent.py CONTROL_HOST CONTROL_PORT SERVER_HOST SERVER_PORT

The standard library only. Orders come as lines on the control connection, `figure size`, and are
answered with one number each.
"""

import socket
import statistics
import sys
import time
from collections.abc import Callable

CHUNK = 256 * 1024


def main(control: "tuple[str, int]", server: "tuple[str, int]") -> None:
    """Obey until there are no more orders."""
    orders: dict[str, Callable[[tuple[str, int], int], float]] = {
        "pull": pull,
        "connect": connect,
        "many": many,
        "reset": reset,
        "half": half,
    }
    with socket.create_connection(control) as sock, sock.makefile("rw") as lines:
        for line in lines:
            figure, size = line.split()
            print(orders[figure](server, int(size)), file=lines, flush=True)


def opened(server: "tuple[str, int]", what: bytes, size: int = 0) -> socket.socket:
    """A connection on which the server does that."""
    sock = socket.create_connection(server, 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(what + size.to_bytes(8, "big"))
    return sock


def pull(server: "tuple[str, int]", size: int) -> float:
    """Bytes a second of one stream."""
    buffer = bytearray(CHUNK)
    with opened(server, b"P", size) as sock:
        began_s, left = time.perf_counter(), size
        while left and (count := sock.recv_into(buffer)):
            left -= count
        return (size - left) / (time.perf_counter() - began_s)


def connect(server: "tuple[str, int]", times: int) -> float:
    """Milliseconds until a new connection has answered, its name looked up; the median."""
    took = []
    for _ in range(times):
        began_s = time.perf_counter()
        with opened(server, b"E") as sock:
            sock.sendall(b"x")
            sock.recv(1)
            took.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(took)


def many(server: "tuple[str, int]", count: int) -> float:
    """How many of so many connections at once answer as they should."""
    held = [opened(server, b"E") for _ in range(count)]
    for number, sock in enumerate(held):
        sock.sendall(number.to_bytes(4, "big"))
    answered = sum(
        sock.recv(4, socket.MSG_WAITALL) == number.to_bytes(4, "big")
        for number, sock in enumerate(held)
    )
    for sock in held:
        sock.close()
    return answered


def reset(server: "tuple[str, int]", _size: int) -> float:
    """1 when a reset arrives as one."""
    with opened(server, b"R") as sock:
        try:
            sock.recv(1)
        except ConnectionResetError:
            return 1
    return 0


def half(server: "tuple[str, int]", size: int) -> float:
    """1 when the server sees the end of what is sent, and its answer comes after that."""
    with opened(server, b"H") as sock:
        sock.sendall(bytes(size))
        sock.shutdown(socket.SHUT_WR)
        return int(sock.recv(8, socket.MSG_WAITALL) == size.to_bytes(8, "big"))


if __name__ == "__main__":
    main((sys.argv[1], int(sys.argv[2])), (sys.argv[3], int(sys.argv[4])))
