"""While no machine can run a task, its submitter reads why: how many lack what, and what helps."""

import msgspec
import pytest

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.buyer import events as e
from swarmnode.tasks.spec import BuiltEnvironment, GpuWant, Shape, TaskSpec
from tests.buyer_lab import ADVERT, ALICE, BOB, CAROL, DAVE, GIB, Desk

LARGE = TaskSpec(("x",), shape=Shape(memory_bytes=9 * GIB))


def test_machines_that_lack_the_same_are_counted_together_with_the_most_there_is() -> None:
    desk = Desk()
    for peer, gib in ((ALICE, 2), (BOB, 8), (CAROL, 4)):
        desk.know(peer, advert=msgspec.structs.replace(ADVERT, memory_bytes=gib * GIB))
    desk.know(DAVE, advert=msgspec.structs.replace(ADVERT, memory_bytes=64 * GIB, paused=True))
    desk.submit(LARGE)
    why = desk.record().why
    assert "lends 8192 MiB of memory, 9216 MiB asked (3 of 4, at most)" in why
    assert "paused by its owner (1 of 4)" in why
    assert "--mem" in why
    assert len(desk.rounds()[0].unfit) == 4


def test_amounts_that_change_are_not_said_again_and_reasons_that_change_are() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit(LARGE)
    first = desk.record().why
    for number in range(20):  # as free memory does
        less = msgspec.structs.replace(ADVERT, memory_bytes=8 * GIB - (number << 20))
        desk.do(e.Advertised(BOB, less))
        desk.run_for(60)
    assert desk.record().why == first
    assert len(desk.rounds()) == 1
    desk.know(CAROL, advert=msgspec.structs.replace(ADVERT, lends=False))
    desk.run_for(600)
    assert "lends nothing (1 of 2)" in desk.record().why
    assert len(desk.rounds()) == 2


def test_who_asks_for_a_gpu_that_nobody_has_reads_which_there_are() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit(TaskSpec(("x",), shape=Shape(gpu=GpuWant(1, 0, "A10G"))))
    assert "There are: NVIDIA A100" in desk.record().why
    bare = Desk()
    bare.know(BOB, advert=msgspec.structs.replace(ADVERT, gpus=()))
    bare.submit(TaskSpec(("x",), shape=Shape(gpu=GpuWant(1))))
    assert "No machine lends a GPU" in bare.record().why


def test_a_python_that_no_machine_carries_is_named_with_those_there_are() -> None:
    desk = Desk()
    carried = ("torch", "@0a1b", "build:3.11", "build:3.12", "build:image")
    desk.know(BOB, advert=msgspec.structs.replace(ADVERT, environments=carried))
    desk.submit(TaskSpec(("x",), env="build:3.9"))
    assert "no CPython 3.9" in desk.record().why
    assert "Machines have CPython 3.11, 3.12" in desk.record().why
    assert "requires-python" in desk.record().why


def test_an_environment_that_no_machine_has_is_named_with_those_there_are() -> None:
    desk = Desk()
    names = ("torch", "jax\x1b[2J", "build:3.11", "@0a1b")
    desk.know(BOB, advert=msgspec.structs.replace(ADVERT, environments=names))
    desk.submit(TaskSpec(("x",), env="qiskit"))
    assert desk.record().why.endswith("There are: torch")


def test_what_owners_do_not_let_tasks_reach_is_said_to_be_their_word() -> None:
    desk = Desk()
    allowed = msgspec.structs.replace(ADVERT, net=("pypi",))
    for peer in (ALICE, BOB):
        desk.do(e.MemberStands(peer, Liveness.ALIVE, LabId("ours")), e.Advertised(peer, allowed))
    desk.submit(TaskSpec(("x",), net=("hf",)))
    assert "reach pypi, hf asked (2 of 2). " in desk.record().why
    assert "[compute] net" in desk.record().why


def test_required_machines_that_are_not_there_are_no_machine_that_is_busy() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit(TaskSpec(("x",), require=(CAROL,)))
    assert "unknown (1 of 2)" in desk.record().why


@pytest.mark.parametrize("machines", [1, 500])
def test_the_reason_is_bounded_and_its_advice_is_whole(machines: int) -> None:
    desk = Desk()
    for number in range(machines):
        words = tuple(f"{'x' * 60}{part}.org" for part in range(number % 3 + 1))
        desk.know(PeerId(f"m{number:03}"), advert=msgspec.structs.replace(ADVERT, net=words))
    desk.submit(TaskSpec(("x",), net=("hf",)))
    assert len(desk.record().why) <= REASON_CHARS_MAX
    assert desk.record().why.endswith("its owner's word")


IMAGE = BuiltEnvironment("swarm:x", b"d" * 32, 1, "x86_64", is_image=True)
"""An image that was unpacked for the pool."""
BRINGS = msgspec.structs.replace(ADVERT, machine="x86_64", brings=True)


def test_an_image_goes_to_a_machine_where_its_task_may_write_to_it() -> None:
    desk = Desk()
    desk.know(BOB, advert=BRINGS)
    desk.know(CAROL, advert=msgspec.structs.replace(BRINGS, writes_images=True))
    desk.submit(TaskSpec(("x",), env=IMAGE.name, built=IMAGE))
    assert list(desk.calls()) == [CAROL]
    folder = msgspec.structs.replace(IMAGE, is_image=False)
    other = Desk()
    other.know(BOB, advert=BRINGS)
    other.submit(TaskSpec(("x",), env=folder.name, built=folder))
    assert list(other.calls()) == [BOB]


def test_where_no_machine_could_write_to_an_image_it_is_shown_to_be_read() -> None:
    desk = Desk()
    desk.know(BOB, advert=BRINGS)
    desk.submit(TaskSpec(("x",), env=IMAGE.name, built=IMAGE))
    assert list(desk.calls()) == [BOB]
    none = Desk()
    none.know(BOB, advert=msgspec.structs.replace(BRINGS, machine="aarch64"))
    none.submit(TaskSpec(("x",), env=IMAGE.name, built=IMAGE))
    assert list(none.calls()) == []


def test_an_image_that_is_only_read_is_no_reason_to_ask_who_lacks_something_else() -> None:
    desk = Desk()
    desk.know(BOB, advert=BRINGS)
    desk.submit(TaskSpec(("x",), env=IMAGE.name, built=IMAGE, net=("hf",)))
    assert list(desk.calls()) == []
    assert "hf asked" in desk.record().why
