"""Somebody was away, we or they: what is kept here is compared with what the others know.

our start, many back at once   everybody is asked about everything
now and then                   a few are asked, by dice
one came back                  asked for what its disk has of the pages that we lead
now and then                   the holders of what lacks shards, and of which we have none
"""

import msgspec
import trio

from p2p.effects import Rng
from p2p.ids import PeerId
from storage.placement.pool import Pool
from storage.repair.audit import Auditor
from storage.repair.config import RepairConfig
from storage.repair.core import Repair
from storage.repair.dropped import DroppedElsewhere
from storage.repair.leftovers import Leftovers
from storage.repair.replaced import ReplacedRecords


class Reconciler(msgspec.Struct):
    """Knows who came back, and when to ask whom."""

    config: RepairConfig
    pool: Pool
    core: Repair
    """Read only: which pages we lead, and whom we follow."""
    auditor: Auditor
    dropped: DroppedElsewhere
    replaced: ReplacedRecords
    leftovers: Leftovers
    rng: Rng
    _missed: dict[PeerId, None] = msgspec.field(default_factory=dict)
    """Who came back since we last compared records."""
    _returned: dict[PeerId, None] = msgspec.field(default_factory=dict)
    """Who came back since we last asked such for what their disks have."""
    _has_returned: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when there are any; replaced before they are asked."""

    def came_back(self, peer: PeerId) -> None:
        """Somebody who was gone lives."""
        self._returned[peer] = self._missed[peer] = None
        self._has_returned.set()

    async def run(self) -> None:
        """Compare at the start, and now and then, until cancelled."""
        was_away = True
        while True:
            await trio.sleep(self.config.look_s * 2)  # until we know who is there
            missed, self._missed = self._missed, {}
            # When most come back at once it is we who were away. Else news rarely pass us by,
            # and asking all holders of everything would be most of what holders say.
            was_away = was_away or 2 * len(missed) >= len(self.pool.alive())
            await self.compare(None if was_away else self.rng)
            was_away = False
            await trio.sleep(self.config.reconcile_s)

    async def compare(self, dice: Rng | None) -> None:
        """Learn of records that replaced ours while we were away, free what is surplus, and ask
        the others whether they still have what they hold. With `dice` only some are asked."""
        await self.dropped.learn_all(dice)
        await self.replaced.learn_all(dice)
        for page in self.core.led_pages():
            await self.auditor.audit(page)
        for page, leader in self.core.seconded_pages():
            await self.auditor.audit(page, leader)

    async def audit_returned(self) -> None:
        """Ask those that came back whether their disk did, too, until cancelled."""
        while True:
            await self._has_returned.wait()
            await trio.sleep(self.config.look_s)
            self._has_returned = trio.Event()
            returned, self._returned = self._returned, {}
            for peer in returned:
                for page in self.core.led_pages(peer):
                    await self.auditor.audit(page, peer)

    async def clear_leftovers(self) -> None:
        """Free manifests of objects that nobody has any more, until cancelled."""
        await trio.sleep(self.config.look_s * 2)  # until we know who is there
        while True:
            for page in self.core.unheld_pages():
                await self.leftovers.clear(page)
            await trio.sleep(self.config.takeover_s)
