"""Whoever may give a machine tasks tries to have it sign, or show, environments of their own."""

import pytest
from msgspec.structs import replace

from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_cap
from swarmnode.tasks.environments.naming import ALLOW_BUILD, COMMAND, LOCK, UV, name_of
from swarmnode.tasks.environments.recipe import build_fault
from swarmnode.tasks.spec import BuiltEnvironment, CheckpointSpec, TaskSpec
from swarmnode.tasks.spec_load import is_sound

CAP = text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))
BUILD = TaskSpec((*COMMAND, UV), env="build:3.11", inputs=((LOCK, CAP),), outputs=("env",))


def test_what_the_recipe_built_is_signed() -> None:
    assert not build_fault(BUILD, is_restored=False)
    again = replace(BUILD, run=(*COMMAND, ALLOW_BUILD, UV))
    assert not build_fault(again, is_restored=False)
    assert not build_fault(replace(BUILD, env="", inputs=()), is_restored=True), "no build"


@pytest.mark.parametrize(
    "other",
    [
        {"run": ("sh", "-c", "cp -r /work/mine/. env")},
        {"run": (*COMMAND, "--allow-build", "/work/uv")},
        {"run": (*COMMAND, UV, ";")},
        {"variables": (("LD_PRELOAD", "/work/mine.so"),)},
        {"inputs": ((LOCK, CAP), ("mine.so", CAP))},
        {"inputs": ((".", CAP),)},  # a folder in which `env` is a link
        {"inputs": ()},
        {"secrets": (("key", "UV_DEFAULT_INDEX"),)},
        {"data": (("/data", CAP),)},
        {"checkpoint": CheckpointSpec("env")},
    ],
)
def test_what_anything_else_made_beside_anothers_lock_is_not(other: dict[str, object]) -> None:
    assert build_fault(replace(BUILD, **other), is_restored=False).startswith("a build ")
    assert is_sound(BUILD)
    assert not is_sound(replace(BUILD, **other)), "nor is it run at all"


def test_nor_what_a_step_of_anothers_brought() -> None:
    assert "checkpoints" in build_fault(BUILD, is_restored=True)


def test_whoever_knows_only_the_name_of_an_environment_is_not_shown_it() -> None:
    """Names stand in every machine's advert; what has private packages is read by its capability"""
    mine = BuiltEnvironment(CAP, b"d" * 32, 1, "x86_64")
    task = TaskSpec(("true",), env=mine.name, built=mine)
    assert is_sound(task)
    assert not is_sound(replace(task, env=name_of("the capability of another")))
