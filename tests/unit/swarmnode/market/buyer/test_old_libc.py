"""Which machines are asked to run a task with an environment that brings no C library."""

import msgspec
import pytest

from swarmnode.market.messages import CallForBids
from swarmnode.tasks.environments.libc import is_older, version_in
from swarmnode.tasks.environments.records import BuiltEnvironment
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import ADVERT, ALICE, BOB, CAROL, Desk

BUILT = BuiltEnvironment("swarm:x", b"d" * 32, 1, "x86_64", "2.34")
SPEC = TaskSpec(("true",), env=BUILT.name, built=BUILT)
NEW = msgspec.structs.replace(ADVERT, machine="x86_64", brings=True, glibc="2.39")
OLD = msgspec.structs.replace(NEW, glibc="2.31")
SILENT = msgspec.structs.replace(NEW, glibc="")


def test_one_that_is_too_old_for_its_programs_is_not_asked() -> None:
    desk = Desk()
    for peer, advert in ((ALICE, NEW), (BOB, OLD), (CAROL, SILENT)):
        desk.know(peer, advert=advert)
    desk.submit(SPEC)
    desk.run_for(0)
    assert {peer for peer, _ in desk.take(CallForBids)} == {ALICE, CAROL}


def test_why_is_said_where_nobody_is_left() -> None:
    desk = Desk()
    desk.know(BOB, advert=OLD)
    desk.submit(SPEC)
    desk.run_for(1)
    (why,) = [why for peer, why in desk.rounds()[0].unfit if peer == BOB]
    assert why == "has glibc 2.31, the environment needs 2.34"


@pytest.mark.parametrize(
    ("has", "needs", "is_it"),
    [
        ("2.9", "2.17", True),
        ("2.36", "2.36", False),
        ("2.36.1", "2.36", False),
        ("", "2.36", False),
        ("2.36", "", False),
        ("1.0", "2.36", False),
    ],
)
def test_versions_go_by_their_numbers_and_unknown_ones_exclude_nobody(
    has: str, needs: str, is_it: bool
) -> None:
    assert is_older(has, needs) is is_it


def test_what_a_build_says_is_a_version_or_nothing() -> None:
    assert [version_in(told) for told in ("2.38", "2.04", "9.9", "2.x", "2.38\n")] == [
        "2.38", "2.4", "", "", "",
    ]  # fmt: skip
