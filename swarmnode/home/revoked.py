"""`revoked.txt`: ids that this machine alone no longer trusts, read again when it has changed."""

from collections.abc import Collection
from os import stat_result

import msgspec

from p2p.errors import IdentityError
from swarmnode.home.folders import Home, read_revoked


class RevokedFile(msgspec.Struct):
    """Called for the ids; a file that cannot be read leaves those that were read before."""

    home: Home
    trouble: str = ""
    """Why it cannot be read, for status and log."""
    _ids: Collection[str] = ()
    _seen: tuple[int, int, int] | None = None

    def __call__(self) -> Collection[str]:
        """The ids now."""
        now = self._look()
        if now != self._seen:
            self._seen = now
            try:
                self._ids, self.trouble = read_revoked(self.home), ""
            except IdentityError as exc:
                self.trouble = f"{exc}; until then those count that were read before"
        return self._ids

    def _look(self) -> tuple[int, int, int] | None:
        try:
            file: stat_result = self.home.revoked_file.stat()
        except OSError:
            return None
        return file.st_mtime_ns, file.st_size, file.st_mode
