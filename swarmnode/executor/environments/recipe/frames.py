"""Reads what is packed by zstd, with the machine's own libzstd: Python has it from 3.14 on only.

Its window is bounded: a frame may ask for any memory before the first byte comes.
Source: RFC 8878; https://facebook.github.io/zstd/zstd_manual.html (since 1.4.0 as used here).
"""

import ctypes
import io

from tarball import RefusedError  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarball import Reads

_LIBRARY = "libzstd.so.1"
_WINDOW_LOG_MAX, _WINDOW_LOG = 100, 27
"""A parameter and its value: 128 MiB, what the strongest usual setting writes."""
_PIECE = 1 << 17


class NoLibraryError(OSError):
    """This machine cannot read it; another one may."""


class _Buffer(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


def _library() -> "ctypes.CDLL":
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise NoLibraryError(
            "a layer is packed by zstd and this machine has no %s (apt install libzstd1)" % _LIBRARY
        ) from error
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.ZSTD_createDStream.restype = pointer
    library.ZSTD_freeDStream.argtypes = (pointer,)
    library.ZSTD_DCtx_setParameter.argtypes = (pointer, ctypes.c_int, ctypes.c_int)
    library.ZSTD_DCtx_setParameter.restype = size
    library.ZSTD_decompressStream.argtypes = (
        pointer, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer)
    )  # fmt: skip
    library.ZSTD_decompressStream.restype = size
    library.ZSTD_isError.argtypes = (size,)
    library.ZSTD_getErrorName.argtypes = (size,)
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    return library


class _Frames(io.RawIOBase):
    """Frames one behind the other, also those that are to be skipped."""

    def __init__(self, file: "Reads") -> None:
        self._file, self._library = file, _library()
        self._stream = self._library.ZSTD_createDStream()
        if not self._stream:
            raise MemoryError
        self._checked(
            self._library.ZSTD_DCtx_setParameter(self._stream, _WINDOW_LOG_MAX, _WINDOW_LOG)
        )
        self._held = ctypes.create_string_buffer(_PIECE)
        self._input = _Buffer(ctypes.addressof(self._held), 0, 0)
        self._wants = 0
        """Not 0 within a frame."""

    def readable(self) -> bool:
        return True

    def readinto(self, into: "memoryview") -> int:  # type: ignore[override]
        """Raises RefusedError for what is damaged."""
        room = (ctypes.c_char * len(into)).from_buffer(into)
        out = _Buffer(ctypes.addressof(room), len(into), 0)
        while not out.pos:
            is_at_end = self._input.pos == self._input.size and not self._fill()
            if is_at_end and not self._wants:
                break
            # What is held back by a frame may come without anything new.
            self._wants = self._checked(
                self._library.ZSTD_decompressStream(
                    self._stream, ctypes.byref(out), ctypes.byref(self._input)
                )
            )
            if is_at_end and not out.pos and self._wants:
                raise RefusedError("a layer is damaged: it ends within a frame")
        size: int = out.pos
        return size

    def _fill(self) -> bool:
        piece = self._file.read(_PIECE)
        ctypes.memmove(self._held, piece, len(piece))
        self._input.size, self._input.pos = len(piece), 0
        return bool(piece)

    def _checked(self, result: int) -> int:
        if self._library.ZSTD_isError(result):
            why = self._library.ZSTD_getErrorName(result).decode()
            raise RefusedError("a layer is damaged: %s" % why)
        return result

    def close(self) -> None:
        if self._stream:
            self._library.ZSTD_freeDStream(self._stream)
            self._stream = None
        super().close()


def opened(file: "Reads") -> "io.BufferedReader":
    """Its plain bytes. Raises NoLibraryError, and RefusedError as it is read."""
    return io.BufferedReader(_Frames(file), _PIECE)
