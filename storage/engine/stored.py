"""Records of ours as they come back from the tables: those of another version are named."""

from typing import TypeVar

from p2p.errors import WireError
from p2p.limits import CONTROL_FRAME_BYTES_MAX
from p2p.wire.codec import Record, decode_as
from storage.errors import TABLES_REMEDY, StoreFailedError

RecordT = TypeVar("RecordT", bound=Record)


def stored(
    kind: type[RecordT], data: bytes, tables: str, bytes_max: int = CONTROL_FRAME_BYTES_MAX
) -> RecordT:
    """A record that we kept in `tables` (state.lmdb, store.lmdb).

    Raises StoreFailedError for one that this version cannot read.
    """
    try:
        return decode_as(kind, data, bytes_max)
    except WireError as error:
        raise StoreFailedError(
            f"{tables} holds a {kind.__name__} that this version cannot read ({error}): run the "
            f"version that wrote it, or {TABLES_REMEDY}"
        ) from error
