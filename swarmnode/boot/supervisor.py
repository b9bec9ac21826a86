"""systemd, or whoever set NOTIFY_SOCKET: told when we are up and when we stop, fed while we live.

Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

import trio

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


def tell(what: str, environ: Mapping[str, str] = os.environ) -> None:
    """One datagram; nothing where nobody asked for it. Raises OSError when the socket is gone."""
    place = environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.connect("\0" + place[1:] if place.startswith("@") else place)
        notify.send(what.encode())


async def feed(environ: Mapping[str, str] = os.environ) -> None:
    """Feed the watchdog from the event loop: a loop that hangs is noticed and restarted."""
    usec = environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        tell(ALIVE, environ)
        await trio.sleep(int(usec) / 2e6)
