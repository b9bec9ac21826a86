"""A machine that comes back too late decides whether what it keeps is needed, while others mend."""

from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from p2p.ids import PeerId
from storage.config import StorageClass, StorageConfig
from storage.facade import PutReceipt
from storage.ids import Address, ShardRoot
from storage.manifests.manifest import Manifest
from storage.messages import LeaseTerms
from storage.repair.surplus import Surplus
from storage.service import StorageService
from testnet.sim.seeded import simulated, until_slowly
from tests.repair_lab import CONFIG, is_whole, newest_record, put, some_bytes
from tests.storage_lab import StorageLab, storage_lab


class Late:
    """A holder whose part was made anew elsewhere, and which is back just now."""

    def __init__(self, lab: StorageLab, peer: PeerId, receipt: PutReceipt) -> None:
        self.lab, self.peer, self.address = lab, peer, receipt.cap.address

    @property
    def service(self) -> StorageService:
        service = self.lab.keepers[self.peer].service
        assert service is not None
        return service

    async def manifest(self) -> Manifest:
        return await self.service.parts.catalog.manifest(self.address)

    async def roots(self) -> list[ShardRoot]:
        return self.service.leases.roots((await self.manifest()).lease, self.address)

    async def is_mended_onto(self, roots: Sequence[ShardRoot]) -> None:
        """Another machine puts what is here already, and has our receipt for it."""
        manifest, transfer = await self.manifest(), self.lab["p0"].parts.transfer
        until_ms = CONFIG.lease_ms(StorageClass.NORMAL, self.lab.keepers["p0"].wall())
        terms = LeaseTerms(manifest.lease, manifest.owner, manifest.lab, 0, until_ms, False)
        for root in roots:
            data = await self.service._shards.get(root)
            await transfer.put_shard(self.peer, root, data, terms)

    async def compare(self) -> None:
        await self.service.repair._replaced.learn_all(None)


@asynccontextmanager
async def one_late(
    nodes: int, size: int, *, is_home: bool, config: StorageConfig = CONFIG
) -> AsyncIterator[Late]:
    async with storage_lab(nodes, config=config) as lab:
        receipt = await put(lab["p0"], some_bytes(size))
        homes = lab["p0"].parts.catalog.homes(receipt.cap.address)
        holders = [peer for peer in newest_record(lab, receipt).peers() if peer != "p0"]
        victim = next(peer for peer in holders if (peer in homes) is is_home)
        lab.kill(victim)
        await until_slowly(lambda: victim not in newest_record(lab, receipt).peers(), 60)
        await until_slowly(lambda: is_whole(lab, receipt), 60)
        await lab.start(victim)
        yield Late(lab, victim, receipt)


@pytest.mark.parametrize(("nodes", "is_home"), [(12, False), (5, True)])
@simulated
async def test_what_a_mending_brings_again_while_it_is_judged_stays(
    nodes: int, is_home: bool
) -> None:
    async with one_late(nodes, 30_000, is_home=is_home) as late:
        kept = await late.roots()
        assert kept
        judge = Surplus.is_all

        async def is_all(
            of: Surplus, address: Address, manifest: Manifest, ours: AbstractSet[ShardRoot]
        ) -> bool:
            is_surplus = await judge(of, address, manifest, ours)
            assert is_surplus
            await late.is_mended_onto(kept)
            return is_surplus

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Surplus, "is_all", is_all)
            await late.compare()
        assert await late.roots() == kept
        assert late.service.stats().repair.dropped_surplus == 0
        await late.compare()
        assert late.service.stats().repair.dropped_surplus == 1
        assert not await late.roots()


@simulated
async def test_an_object_of_several_pages_is_judged_once_and_one_that_names_us_never() -> None:
    config = replace(CONFIG, segment_bytes=512)
    async with one_late(6, 300 * 512, is_home=True, config=config) as late:
        assert (await late.manifest()).page_count == 2
        judged: list[PeerId] = []

        async def is_all(
            of: Surplus, _address: Address, _manifest: Manifest, _ours: AbstractSet[ShardRoot]
        ) -> bool:
            judged.append(of.pool.me)
            return False

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Surplus, "is_all", is_all)
            await late.compare()
            assert judged == [late.peer]
            for service in late.lab.up():
                if service is not late.service:
                    await service.repair._replaced.learn_all(None)
            assert judged == [late.peer]
