"""One person has many machines in a pool of many people."""

from testnet.sim.seeded import simulated
from tests.sim.test_repair_sim import CONFIG, got, put, some_bytes
from tests.storage_lab import storage_lab


@simulated
async def test_one_person_with_many_machines_cannot_keep_an_object_from_its_owner() -> None:
    mallorys = {f"p{number}": "mallory" for number in range(4, 12)}
    data = some_bytes(60_000)
    async with storage_lab(12, config=CONFIG, owners=mallorys) as lab:  # type: ignore[arg-type]
        receipts = [await put(lab["p0"], data + bytes([number])) for number in range(6)]
        for name in mallorys:
            lab.kill(name)
        for number, receipt in enumerate(receipts):
            assert await got(lab["p1"], receipt.cap) == data + bytes([number])
