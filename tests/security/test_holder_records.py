"""A machine that holds a part of an object writes a record of it that no other could follow."""

import pytest

from p2p.errors import RefusalError
from storage import messages as m
from storage.records.holders import seal_holders
from testnet.sim.callers import machine_of
from testnet.sim.seeded import simulated, until
from testnet.sim.signer import KeyedHashSigner
from tests.sim.test_repair_sim import CONFIG, got, is_whole, newest_record, put, some_bytes
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
