"""Makes a namespace and its sockets, in the child that will be the job. Shim-side."""

import _socket
import os

from swarmnode.executor.shim.net import netlink

ADDRESS = "10.77.0.1"
"""What a task takes for the address of its machine; also where it finds DNS."""
DNS_PORT = 53
LOOPBACK, WEB_PORT = "127.0.0.1", 7077
DATA_URL = f"http://{LOOPBACK}:{WEB_PORT}"
"""Where a task finds its datasets by HTTP."""
BACKLOG = 1024
"""Connections that wait for a node: as many as a task may have at once."""
_REMEMBERED_S = (
    ("tcp_timeout_syn_sent", b"10"),
    ("tcp_timeout_syn_recv", b"10"),
    ("tcp_timeout_fin_wait", b"30"),
    ("tcp_timeout_close_wait", b"30"),
    ("tcp_timeout_last_ack", b"10"),
    ("tcp_timeout_time_wait", b"10"),
    ("tcp_timeout_close", b"2"),
)
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def make(*, is_root: bool) -> "list[_socket.socket]":
    """Be in a new namespace; its listener, its DNS socket and its DNS listener. Raises OSError.

    Root makes it with the machine's own rights, so that nothing in a sandbox has a say in it. A
    plain user needs a user namespace around it, in which bubblewrap then makes another.
    """
    _be_apart(is_root=is_root)
    listener = _listening("0.0.0.0", 0)  # noqa: S104 - of a namespace that nobody else is in
    netlink.set_up(ADDRESS, listener.getsockname()[1])
    _forget_soon()
    return [listener, _bound(ADDRESS, DNS_PORT), _listening(ADDRESS, DNS_PORT)]


def make_empty(*, is_root: bool) -> None:
    """Be in a new namespace that has a loopback and leads nowhere. Raises OSError."""
    _be_apart(is_root=is_root)
    netlink.come_up()


def web_listener() -> "_socket.socket":
    """Where this namespace reads its datasets by HTTP. Raises OSError."""
    return _listening(LOOPBACK, WEB_PORT)


def _be_apart(*, is_root: bool) -> None:
    from swarmnode.executor.kernel import syscalls  # here: it costs four milliseconds

    if is_root:
        syscalls.unshare(_CLONE_NEWNET)
    else:
        uid, gid = os.getuid(), os.getgid()
        syscalls.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        _map_to_itself(uid, gid)


def _map_to_itself(uid: int, gid: int) -> None:
    """Not to 0: whoever is root of the user namespace may write to its /proc/sys/net."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _forget_soon() -> None:
    """What is over need not be remembered for two minutes: it is memory of the kernel's."""
    for name, seconds in _REMEMBERED_S:
        try:
            fd = os.open(f"/proc/sys/net/netfilter/nf_conntrack_{name}", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:  # an older kernel shows these to root only
            return
        try:
            os.write(fd, seconds)
        finally:
            os.close(fd)


def _listening(address: str, port: int) -> "_socket.socket":
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    sock.bind((address, port))
    sock.listen(BACKLOG)
    return sock


def _bound(address: str, port: int) -> "_socket.socket":
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    sock.bind((address, port))
    return sock
