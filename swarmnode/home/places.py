"""The form of a text of the configuration that says where the API is served.

Whether a host is this machine's, and its port free, is found out by whoever binds it.
"""

from typing import Final

_PORT_MAX: Final = 65_535
"""The C library would take a higher one modulo 65536."""


def host_and_port(text: str) -> tuple[str, int]:
    """Of `HOST:PORT` or `[HOST]:PORT`. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= _PORT_MAX
    if not host or not is_port:
        raise ValueError(f"{text[:80]!r} is not HOST:PORT, such as 127.0.0.1:4851")
    return host, int(port)
