"""How full a job's own file system is, and whether the machine's disk can hold it. Shim-side."""

import os

IMAGE = "disk.ext4"
_FLOOR_BYTES, _FLOOR_PARTS = 256 << 20, 20
"""What a fast writer can write between two looks; of a small disk a twentieth."""


def used_bytes(fd: int) -> int:
    """Bytes taken in the file system of a descriptor."""
    disk = os.fstatvfs(fd)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


def is_host_tight(folder: str) -> bool:
    """Whether the machine's disk may soon be too full for the rest of a job's image.

    Past that, what the job writes would be lost after it was told that all is well.
    """
    image = os.stat(f"{folder}/{IMAGE}")
    missing = image.st_size - image.st_blocks * 512
    host = os.statvfs(folder)
    return host.f_bavail * host.f_frsize < min(_floor(host), missing)


def host_room(folder: str) -> int:
    """Bytes that the machine's disk can take and is not nearly full then; below 0: it is."""
    host = os.statvfs(folder)
    return host.f_bavail * host.f_frsize - _floor(host)


def _floor(host: os.statvfs_result) -> int:
    return min(_FLOOR_BYTES, host.f_blocks * host.f_frsize // _FLOOR_PARTS)


def is_whole(folder: str, fd: int) -> bool:
    """Whether everything written to a file system has a place in its image."""
    if not is_host_tight(folder):
        return True
    from swarmnode.executor.kernel import syscalls as kernel

    folder_fd = os.open(f"/proc/self/fd/{fd}/.", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kernel.sync_file_system(folder_fd)
    except OSError:
        return False
    finally:
        os.close(folder_fd)
    return True
