"""A shell at which somebody types, one line after the other."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_DONE: Final = "-- typed --"


class Shell:
    """bash; what is printed there is read line by line and kept, for whom it goes wrong.

    Commands come by a pipe of their own: what they start has nothing piped in, as at a terminal.
    """

    def __init__(self, inside: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self._said: list[str] = []
        commands, keyboard = os.pipe()
        self._keyboard = os.fdopen(keyboard, "w")
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [*inside, "bash", f"/dev/fd/{commands}"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            pass_fds=(commands,),
        )
        os.close(commands)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._keyboard.close()
        self._process.stdout.close()  # what it left running has it, too, and is not waited for

    def type(self, line: str, until: str = _DONE) -> dict[str, float]:
        """Type a line; when each line of answer came, in seconds after it.

        Returns with the line that has `until` in it, by default once the command has ended. Raises
        SystemExit with all that was said when it ends otherwise.
        """
        assert self._process.stdout is not None
        began_s = time.monotonic()
        self._keyboard.write(f'{line}\necho "{_DONE} $?"\n')
        self._keyboard.flush()
        came: dict[str, float] = {}
        for answer in self._process.stdout:
            self._said.append(answer)
            came.setdefault(answer.rstrip("\n"), time.monotonic() - began_s)
            if until in answer and (until != _DONE or answer == f"{_DONE} 0\n"):
                return came
            if answer.startswith(_DONE) and (until == _DONE or not answer.endswith(" 0\n")):
                break
        raise SystemExit(f"{line!r} did not do what it should:\n{''.join(self._said)}")


def plain(home: Path) -> dict[str, str]:
    """The variables of somebody who has set none, at home there."""
    kept = ("PATH", "LANG", "TERM", "LD_LIBRARY_PATH")
    return {"HOME": str(home), **{name: os.environ[name] for name in kept if name in os.environ}}
