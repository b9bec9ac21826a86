"""Where the tasks that a machine keeps lie in its tables (swarmnode.tasks.store.GUARDS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.engine.stored import stored
from swarmnode.limits import GUARD_RECORD_BYTES_MAX
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.store import GUARDS, scan_all

if TYPE_CHECKING:
    from storage.engine.port import ReadView


def load_guards(view: ReadView) -> list[GuardRecord]:
    """Every task that this machine keeps."""
    rows = scan_all(view, GUARDS)
    return [stored(GuardRecord, raw, "state.lmdb", GUARD_RECORD_BYTES_MAX) for _, raw in rows]
