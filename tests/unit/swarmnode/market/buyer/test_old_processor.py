"""Which machines are asked to run a task whose programs need a newer processor."""

import struct
import sys
from pathlib import Path

import msgspec
import pytest

from swarmnode.executor.environments import building
from swarmnode.market.messages import CallForBids
from swarmnode.resources.cpu import level_of, named
from swarmnode.tasks.environments.records import BuiltEnvironment
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import ADVERT, ALICE, BOB, CAROL, Desk

RECIPE = Path(building.__file__).parent / "recipe"
BUILT = BuiltEnvironment("swarm:x", b"d" * 32, 1, "x86_64", cpu_level=3)
NEW = msgspec.structs.replace(ADVERT, machine="x86_64", brings=True, cpu_level=4)
OLD = msgspec.structs.replace(NEW, cpu_level=2)
SILENT = msgspec.structs.replace(NEW, cpu_level=0)
V2 = "sse2 cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"


def test_one_that_lacks_their_instructions_is_not_asked_and_why_is_said() -> None:
    desk = Desk()
    for peer, advert in ((ALICE, NEW), (BOB, OLD), (CAROL, SILENT)):
        desk.know(peer, advert=advert)
    desk.submit(TaskSpec(("true",), env=BUILT.name, built=BUILT))
    desk.run_for(0)
    assert {peer for peer, _ in desk.take(CallForBids)} == {ALICE, CAROL}
    alone = Desk()
    alone.know(BOB, advert=OLD)
    alone.submit(TaskSpec(("true",), env=BUILT.name, built=BUILT))
    alone.run_for(1)
    (why,) = [why for peer, why in alone.rounds()[0].unfit if peer == BOB]
    assert why == "has a processor of x86-64-v2, x86-64-v3 is needed"


@pytest.mark.parametrize(
    ("flags", "level"),
    [("", 0), ("neon", 0), ("sse2", 1), (V2, 2), (V3, 3), (V3.replace("fma", ""), 2)],
)
def test_a_processor_has_the_level_whose_flags_are_all_there(flags: str, level: int) -> None:
    assert level_of(flags.split()) == level
    assert named(level) == ("x86-64" if level < 2 else f"x86-64-v{level}")


def elf(bits: int, kind: int = 0xC0008002) -> bytes:
    """A program whose linker has noted what it needs."""
    note = struct.pack("<III4sIIII", 4, 16, 5, b"GNU\0", kind, 4, bits, 0)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    entry = struct.pack("<IIQQQQQQ", 0x6474E553, 4, 120, 0, 0, len(note), len(note), 8)
    return head + entry + note


@pytest.mark.parametrize(
    ("data", "level"),
    [
        (elf(0b111), 3),
        (elf(0b1), 1),
        (elf(0b1111_1111), 4),
        (elf(0b111, kind=0xC0010002), 0),
        (elf(0b111)[:130], 0),
        (b"\x7fELF" + bytes(100), 0),
        (elf(0b111).replace(b"GNU\0", b"\xff" * 4), 3),
    ],
)
def test_what_a_program_needs_is_read_from_its_note(
    data: bytes, level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))
    import elf as recipe  # type: ignore[import-not-found]

    (tmp_path / "program").write_bytes(data)
    with (tmp_path / "program").open("rb") as file:
        assert recipe.cpu_level(file) == level
    sys.modules.pop("elf")
