"""Network namespaces and TUN devices, by system calls: nothing to install, nothing left behind.

A namespace here has no name: it lives as long as somebody holds its descriptor or runs in it.
"""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFTXQLEN = 0x8914, 0x8916, 0x891C, 0x8943
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_TUN_PATH: Final = "/dev/net/tun"
_DEVICE: Final = b"eth0"
_TX_PACKETS: Final = 5000

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """What this machine lacks for namespaces, or None."""
    if os.geteuid() != 0:
        return "root, for network namespaces"
    if not os.access(_TUN_PATH, os.R_OK | os.W_OK):
        return _TUN_PATH
    try:
        Namespace.make("10.77.255.1").close()
    except OSError as exc:
        return f"permission to make a network namespace ({exc})"
    return None


@dataclass(frozen=True, slots=True)
class Namespace:
    """A host of its own: one address, one wire."""

    address: str
    net_fd: int
    wire_fd: int
    """The TUN device: IP packets the host sends are read here, those for it written."""

    @classmethod
    def make(cls, address: str) -> "Namespace":
        """A namespace whose eth0 has `address` in a /16; OSError when that is not allowed."""
        made: list[Namespace] = []
        errors: list[OSError] = []

        def work() -> None:  # unshare counts for the thread that calls it, and this one ends
            try:
                _check(_libc.unshare(_CLONE_NEWNET), "unshare")
                net_fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
                made.append(cls(address, net_fd, _open_wire(address)))
            except OSError as exc:
                errors.append(exc)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return made[0]

    def enter(self) -> None:
        """Move the calling thread into the namespace: for a child between fork and exec."""
        _check(_libc.setns(self.net_fd, _CLONE_NEWNET), "setns")

    def close(self) -> None:
        """Let go of it."""
        os.close(self.wire_fd)
        os.close(self.net_fd)


def _open_wire(address: str) -> int:
    wire = os.open(_TUN_PATH, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(wire, _TUNSETIFF, struct.pack("16sH22x", _DEVICE, _IFF_TUN | _IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFADDR, _address_request(address))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _address_request("255.255.0.0"))
        fcntl.ioctl(control, _SIOCSIFTXQLEN, struct.pack("16si20x", _DEVICE, _TX_PACKETS))
        for device in (b"lo", _DEVICE):
            flags = struct.pack("16sH22x", device, _IFF_UP | _IFF_RUNNING)
            fcntl.ioctl(control, _SIOCSIFFLAGS, flags)
    return wire


def _address_request(address: str) -> bytes:
    return struct.pack("16sHH4s16x", _DEVICE, socket.AF_INET, 0, socket.inet_aton(address))


def _check(result: int, what: str) -> None:
    if result:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")
