"""Takes apart what the node hands over of a job's secrets. Shim-side: the standard library only.

The first part is for bubblewrap's arguments, each other one a file. Between fork and exec alone: a
shim keeps none of it, and needs none again.
"""

import os

FD_SECRETS = 28
"""Where the shim finds them; /dev/null where there are none."""
FD_OPTIONS = 44
"""Where bubblewrap finds its options about them."""
FD_FILES = 100
"""The first of the numbers under which it finds the files."""
_LENGTH_BYTES = 4


def packed(parts: "list[bytes]") -> bytes:
    """The parts, each behind its length."""
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)


def hand_over() -> None:
    """Have each part behind its number, to be inherited. Raises OSError."""
    options, *files = _parts(_whole(FD_SECRETS))
    os.close(FD_SECRETS)
    _put(options, FD_OPTIONS)
    for number, data in enumerate(files):
        _put(data, FD_FILES + number)


def _put(data: bytes, number: int) -> None:
    fd = os.memfd_create("swarm-secret", os.MFD_CLOEXEC)
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, number)
    os.close(fd)


def _whole(fd: int) -> bytes:
    data = b""
    while piece := os.read(fd, 1 << 20):
        data += piece
    return data


def _parts(data: bytes) -> "list[bytes]":
    parts = []
    while data:
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
        parts.append(data[_LENGTH_BYTES:end])
        data = data[end:]
    return parts
