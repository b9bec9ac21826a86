"""A host's end of a measurement, over UDP: `python -m testnet.emulator.probe WHAT ...`.

echo                      answer every packet; prints `ready`
ping ADDRESS COUNT EVERY  round trips, a packet every so many ms: JSON, ms or null where lost
sink COUNT                wait for so many packets or a second of silence: prints `ready`, then
                          JSON: packets and seconds from the first to the last
burst ADDRESS COUNT       so many packets of 1,500 bytes, all at once: prints `sent`
"""

import json
import socket
import sys
import time
from typing import Final

PORT: Final = 7
PACKET_BYTES: Final = 1500
HEADERS_BYTES: Final = 28
_SILENT_S: Final = 1.0
_PACKET_BYTES_MAX: Final = 65_536


def _socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    made.bind(("", port))
    return made


def echo() -> None:
    """Answer for ever."""
    with _socket(PORT) as here:
        print("ready", flush=True)
        while True:
            here.sendto(*here.recvfrom(_PACKET_BYTES_MAX))


def ping(address: str, count: str, every_ms: str) -> None:
    """Print the round trips."""
    times: list[float | None] = [None] * int(count)
    with _socket(0) as here:
        here.connect((address, PORT))
        began_s = time.monotonic()
        for number in range(len(times)):
            due_s = began_s + number * float(every_ms) / 1000
            _hear(here, times, due_s)
            here.send(json.dumps([number, time.monotonic()]).encode())
        _hear(here, times, time.monotonic() + _SILENT_S)
    print(json.dumps(times), flush=True)


def _hear(here: socket.socket, times: list[float | None], until_s: float) -> None:
    """Note the answers that come until then."""
    while (left_s := until_s - time.monotonic()) > 0:
        here.settimeout(left_s)
        try:
            number, sent_s = json.loads(here.recv(_PACKET_BYTES_MAX))
        except TimeoutError:
            return
        except ConnectionRefusedError:
            continue
        times[number] = (time.monotonic() - sent_s) * 1000


def sink(count: str) -> None:
    """Print how many came, and in what time."""
    arrived_s: list[float] = []
    with _socket(PORT) as here:
        print("ready", flush=True)
        try:
            while len(arrived_s) < int(count):
                here.recv(_PACKET_BYTES_MAX)
                arrived_s.append(time.monotonic())
                here.settimeout(_SILENT_S)
        except TimeoutError:
            pass  # the rest is lost
    span_s = arrived_s[-1] - arrived_s[0]
    print(json.dumps({"packets": len(arrived_s), "span_s": span_s}), flush=True)


def burst(address: str, count: str) -> None:
    """Send, as fast as that goes."""
    with _socket(0) as here:
        for _ in range(int(count)):
            here.sendto(bytes(PACKET_BYTES - HEADERS_BYTES), (address, PORT))
    print("sent", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["echo"]:
            echo()
        case ["ping", where, how_many, every]:
            ping(where, how_many, every)
        case ["sink", how_many]:
            sink(how_many)
        case ["burst", where, how_many]:
            burst(where, how_many)
