"""Where the pool keeps the records of one environment: a name that everybody can make from its key.

Whoever knows the key may write there, so a record is worth what its own signature is; the worst
that somebody can do is to take all away, and then the environment is built once more.
"""

from blake3 import blake3

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as, encode
from p2p.wire.envelope import Signed, Signer
from storage.errors import NameConflictError, TooFewPeersError
from storage.facade import NameStore, OwnedNames
from storage.limits import NAME_VALUE_BYTES_MAX

_NAME = "environment"
RECORDS_MAX = 8
"""The newest; two of different labs are enough, and a name's value holds so many."""
_TRIES = 3


class ShelfRecord(Record, frozen=True):
    """What lies under the name."""

    records: tuple[Signed, ...]


class RecordShelf:
    """Reads and writes them."""

    def __init__(self, names: NameStore, signer: Signer) -> None:
        self._names, self._signer = names, signer

    def _of(self, key: bytes) -> OwnedNames:
        seed = blake3(key, derive_key_context="swarm environment name 1").digest()
        return self._names.task(self._signer.from_seed(seed))

    async def read(self, key: bytes) -> tuple[Signed, ...]:
        """What is there; nothing where too few are there to say. Nothing of it is checked."""
        try:
            found = await self._of(key).read(_NAME)
        except TooFewPeersError:
            return ()
        return _records_in(found.value) if found else ()

    async def add(self, key: bytes, sealed: Signed) -> bool:
        """Put one more there, in place of an older one of its signer; False: not now."""
        names = self._of(key)
        for _ in range(_TRIES):
            try:
                found = await names.read(_NAME)
                before = _records_in(found.value) if found else ()
                kept = [one for one in before if one.sender != sealed.sender][1 - RECORDS_MAX :]
                value = _fitting([*kept, sealed])
                expected = found.sequence if found else 0
                await names.write(_NAME, value, expected=expected, fence=0)
            except NameConflictError:
                continue
            except TooFewPeersError:
                return False
            return True
        return False


def _fitting(records: list[Signed]) -> bytes:
    while len(value := encode(ShelfRecord(tuple(records)))) > NAME_VALUE_BYTES_MAX:
        del records[0]
    return value


def _records_in(value: bytes) -> tuple[Signed, ...]:
    try:
        return decode_as(ShelfRecord, value).records[-RECORDS_MAX:]
    except WireError:
        return ()
