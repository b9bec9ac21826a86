"""System calls by number, for those that neither Python nor the C library has a function for.

Imported late by the shim: ctypes costs four milliseconds.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: "int | bytes | None") -> int:
    """Raises OSError. Numbers are handed on as words of the machine, bytes by their address."""
    typed = [
        ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments
    ]
    result: int = _libc.syscall(ctypes.c_long(number), *typed)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
