"""Whose a put is, and what is said with everything that is kept of it."""

import msgspec

from p2p.ids import LabId, PersonId
from storage.config import StorageConfig
from storage.ids import LeaseId
from storage.messages import LeaseTerms
from storage.rights import Right


class PutTerms(msgspec.Struct, frozen=True):
    """Of one put, from its begin to its end."""

    lease: LeaseId
    """Under which every holder keeps what it gets of this put."""
    owner: PersonId
    lab: LabId
    right: Right | None
    """What lets us put for another owner; None for what is our own."""
    storage_class: int
    is_guests: bool
    """Of another person of this machine."""

    def held(self, config: StorageConfig, now_ms: int) -> LeaseTerms:
        """While the put goes on: that ends by itself."""
        return self._until(now_ms + int(config.hold_s * 1000), is_hold=True)

    def lasting(self, config: StorageConfig, now_ms: int) -> LeaseTerms:
        """With the manifest. What is another's is ours to give up, until its owner renews it."""
        until_ms = config.lease_ms(self.storage_class, now_ms)
        return self._until(until_ms, is_hold=self.right is not None)

    def _until(self, until_ms: int, *, is_hold: bool) -> LeaseTerms:
        return LeaseTerms(
            self.lease, self.owner, self.lab, self.storage_class, until_ms, is_hold, self.right
        )
