"""What a job prints: a pipe for each of its two streams, written to a file by the shim alone.

The job has nothing of the file, so it cannot cut off or rewrite what it has printed, and not a byte
goes past the bound. Shim-side: the standard library only, and little of it.
"""

import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

STREAMS = ("stdout", "stderr")
_POLLIN = 1
_PIPE_BYTES = 256 * 1024
"""What a job may print while we do something else, before it has to wait."""
_REST_S, _REST_PARTS = 0.005, 4
"""Who prints less than this part of it is listened to again after a rest, not for every line."""


class Logs:
    """Both streams of one job. `ends` are the job's own ends, for its stdout and stderr."""

    def __init__(self, folder: str, bytes_max: int) -> None:
        self._files: dict[int, int] = {}
        """Our end of each pipe, and the file that it goes into."""
        self._room: dict[int, int] = {}
        """Bytes that may still come, by our end; below zero: it was too much."""
        self._resting: dict[int, float] = {}
        """Ends that are not listened to, and until when, on the monotonic clock."""
        self.ends: list[int] = []
        """Stdout first; closed here by `watch`."""
        self._is_mid_line = False
        """Of stderr, as far as it is kept."""
        self.is_over = False
        """A stream was longer than it may be; no more of it is kept."""
        for name in STREAMS:
            self._open(f"{folder}/{name}", bytes_max)

    def _open(self, path: str, bytes_max: int) -> None:
        ours, end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ours, False)
        try:  # noqa: SIM105
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:  # a user has only so much for pipes
            pass
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._files[ours] = file
        self._room[ours] = max(0, bytes_max - os.fstat(file).st_size)
        self.ends.append(end)

    def hand_over(self, uid: int) -> None:
        """Between fork and exec: these are the job's. Its user may open /dev/stdout by name."""
        for number, end in zip((1, 2), self.ends, strict=True):
            if uid:
                os.fchown(end, uid, uid)
            os.dup2(end, number)

    def watch(self, poll: "select.poll") -> None:
        """The job has its ends; listen to ours."""
        while self.ends:
            os.close(self.ends.pop())
        for fd in self._files:
            poll.register(fd, _POLLIN)

    def hear(self, fd: int, poll: "select.poll") -> None:
        """Take what is there. Raises OSError when the disk does not."""
        try:
            data = os.read(fd, _PIPE_BYTES)
        except BlockingIOError:
            return
        if not data:
            poll.unregister(fd)  # nobody has the other end any more
            self._resting.pop(fd, None)
        elif self._keep(fd, data) < _PIPE_BYTES // _REST_PARTS:
            poll.modify(fd, 0)
            self._resting[fd] = time.monotonic() + _REST_S

    def wake(self, now_s: float, poll: "select.poll") -> float:
        """Listen again to those that have rested; how long until the next has."""
        left_s = 1.0
        for fd, until_s in list(self._resting.items()):
            if until_s <= now_s:
                poll.modify(fd, _POLLIN)
                del self._resting[fd]
            else:
                left_s = min(left_s, until_s - now_s)
        return left_s

    def note(self, words: bytes) -> None:
        """Add a line of somebody else's to the job's stderr. Raises OSError."""
        stderr = list(self._files)[1]
        self._keep(stderr, b"\n" + words if self._is_mid_line else words)

    def hear_rest(self) -> None:
        """Nothing of the job lives: take what is still under way. Raises OSError."""
        for fd in self._files:
            try:
                while self._room[fd] >= 0 and (data := os.read(fd, _PIPE_BYTES)):
                    self._keep(fd, data)
            except BlockingIOError:  # somebody outside was given the other end
                pass

    def settle(self) -> None:
        """Have all that was printed on the disk, before anybody is told how the job ended: what
        its submitter has not fetched yet must outlast a power cut. Raises OSError."""
        for file in self._files.values():
            if os.fstat(file).st_size:
                os.fdatasync(file)

    def _keep(self, fd: int, data: bytes) -> int:
        if fd == list(self._files)[1]:
            self._is_mid_line = not data.endswith(b"\n")
        view = memoryview(data)[: max(0, self._room[fd])]
        self._room[fd] -= len(data)  # below zero: over it
        self.is_over = self.is_over or self._room[fd] < 0
        while view:
            view = view[os.write(self._files[fd], view) :]
        return len(data)
