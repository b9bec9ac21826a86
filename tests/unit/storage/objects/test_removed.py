"""What was removed stays known by name, for whoever still has its capability."""

from storage.engine.memory_tables import MemoryTables
from storage.engine.port import WriteView
from storage.facade import Gone, Mark, ObjectKind
from storage.ids import Address
from storage.limits import REMOVED_KEPT
from storage.objects.removed import RemovedBook
from testnet.sim.seeded import simulated
from tests.storage_lab import storage_lab
from tests.unit.storage.objects.test_objects import chunks_of


@simulated
async def test_what_was_removed_is_named_and_dated_also_after_a_restart() -> None:
    async with storage_lab(3) as lab:
        put = lab["p0"].objects.put
        thesis = await put(chunks_of(b"1" * 100), name="thesis")
        step = await put(chunks_of(b"2" * 100), name="step", mark=Mark(ObjectKind.CHECKPOINT, "t"))
        assert lab["p0"].objects.removed(thesis.cap.address) is None
        for one in (thesis, step):
            assert await lab["p0"].objects.forget(one.cap.address) is not None
        lab.kill("p0")
        await lab.start("p0")
        gone = lab["p0"].objects.removed(thesis.cap.address)
        assert gone is not None
        assert (gone.name, gone.at_ms > 0) == ("thesis", True)
        assert lab["p0"].objects.removed(step.cap.address) is None  # nobody asks for those
        assert lab["p1"].objects.removed(thesis.cap.address) is None


async def test_of_very_many_the_oldest_are_forgotten() -> None:
    tables = MemoryTables()
    book = RemovedBook(tables)

    def write(view: WriteView) -> None:
        for number in range(REMOVED_KEPT + 10):
            book.write(view, _address(number), Gone(f"{number}", number))

    await tables.transact(write)
    await book.prune()
    assert book.get(_address(9)) is None
    assert book.get(_address(10)) == Gone("10", 10)
    assert book.get(_address(REMOVED_KEPT + 9)) is not None


def _address(number: int) -> Address:
    return Address((7 * number).to_bytes(32))
