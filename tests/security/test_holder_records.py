"""A machine that holds a part of an object writes a record of it that no other could follow."""

import pytest

from p2p.errors import RefusalError
from p2p.ids import PeerId
from storage import messages as m
from storage.records.holding import seal_holders
from testnet.sim.callers import machine_of
from testnet.sim.seeded import simulated, until
from testnet.sim.signer import KeyedHashSigner
from tests.repair_lab import CONFIG, got, is_whole, newest_record, put, some_bytes
from tests.storage_lab import NETWORK, storage_lab


@pytest.mark.parametrize("number", [2**64 - 1, 2**64 - 2, 2**53 + 1, 2**53, 2**20, -1])
@simulated
async def test_a_record_of_any_number_ends_neither_a_node_nor_all_mending(number: int) -> None:
    async with storage_lab(5, config=CONFIG) as lab:
        data = some_bytes(40_000)
        receipt = await put(lab["p0"], data)
        honest = newest_record(lab, receipt)
        liar, dead = (peer for peer in honest.peers() if peer != "p0")
        record = seal_holders(
            KeyedHashSigner(liar), NETWORK, honest.address, 0, honest.rows, number
        )
        for service in lab.up():
            server = service.parts.transfer._server
            try:
                await server.answer(machine_of(liar), m.PutHolders(record), b"")
            except RefusalError as refusal:
                assert refusal.code in ("corrupt", "missing")  # noqa: PT017 - one of these
        lab.kill(dead)
        await until(lambda: is_whole(lab, receipt), within_s=120)
        assert dead not in newest_record(lab, receipt).peers()
        assert await got(lab["p0"], receipt.cap) == data


@pytest.mark.parametrize("length", [129, 30_000, 65_000])
@simulated
async def test_a_record_that_names_a_machine_without_end_is_taken_by_nobody(length: int) -> None:
    async with storage_lab(5, config=CONFIG) as lab:
        receipt = await put(lab["p0"], some_bytes(40_000))
        honest = newest_record(lab, receipt)
        liar = next(peer for peer in honest.peers() if peer != "p0")
        rows = tuple((PeerId("x" * length), *row[1:]) for row in honest.rows)
        number = honest.sequence + 1
        record = seal_holders(KeyedHashSigner(liar), NETWORK, honest.address, 0, rows, number)
        for service in lab.up():
            with pytest.raises(RefusalError) as caught:
                await service.parts.transfer._server.answer(
                    machine_of(liar), m.PutHolders(record), b""
                )
            assert caught.value.code in ("corrupt", "missing")
        assert newest_record(lab, receipt) == honest


@simulated
async def test_one_that_keeps_only_records_makes_none_up_that_others_take() -> None:
    """Homes keep manifest and record, and need hold nothing: one of them says it has it all."""
    data = some_bytes(40_000)
    async with storage_lab(12, config=CONFIG) as lab:
        receipt = await put(lab["p0"], data)
        address = receipt.cap.address
        honest = newest_record(lab, receipt)
        homes = lab["p0"].parts.catalog.homes(address)
        reader = next(name for name in lab.names() if name not in (*honest.peers(), *homes))
        liar = next(home for home in homes if home not in honest.peers())
        rows = tuple((liar,) * len(row) for row in honest.rows)
        sealed = seal_holders(KeyedHashSigner(liar), NETWORK, address, 0, rows, 1 << 19)
        made_up = lab[liar].holders.open(sealed)
        await lab[liar].holders.forget(address)
        await lab[liar].holders.accept(made_up)
        for name in honest.peers():
            await lab[name].repair._reconciler.compare(None)
        for name in honest.peers():
            assert lab[name].holders.get(address) == honest, name
        assert await got(lab[reader], receipt.cap) == data
        manifest = await lab["p0"].parts.catalog.manifest(address)
        told = await lab["p0"].parts.catalog.holding(address, manifest, 0, is_fresh=True)
        assert told == honest


@simulated
async def test_leases_are_renewed_where_the_put_went_whatever_the_records_say() -> None:
    async with storage_lab(12, config=CONFIG) as lab:
        receipt = await put(lab["p0"], some_bytes(40_000))
        address = receipt.cap.address
        honest = newest_record(lab, receipt)
        homes = lab["p0"].parts.catalog.homes(address)
        liar = next(peer for peer in honest.peers() if peer != "p0")
        rows = tuple((liar,) * len(row) for row in honest.rows)
        hijacked = lab[liar].holders.seal(address, 0, rows, honest.sequence + 1)
        await lab[liar].parts.catalog.publish_holding(hijacked)
        await lab["p0"].holders.accept(hijacked)
        lease = (await lab["p0"].parts.catalog.manifest(address)).lease
        away = next(peer for peer in honest.peers() if peer not in (*homes, "p0", liar))
        row = lab[away].leases.row(lease)
        assert row is not None
        for keeper in lab.keepers.values():
            keeper.wall.step(5 * 24 * 3600 * 1000)
        await lab["p0"].objects._keeper.renew()
        later = lab[away].leases.row(lease)
        assert later is not None
        assert later.until_ms > row.until_ms
