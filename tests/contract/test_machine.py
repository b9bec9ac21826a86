"""What every Machine promises."""

from pathlib import Path

import pytest

from swarmnode.resources.fake import FakeMachine, fake_gpu
from swarmnode.resources.local import LocalMachine
from swarmnode.resources.port import Machine


@pytest.fixture(params=["local", "local without gpus", "fake", "fake with gpus"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if request.param.startswith("local"):
        return LocalMachine(tmp_path / "not" / "made", gpus="without" not in request.param)
    return FakeMachine(gpus=(fake_gpu(0), fake_gpu(1)) if "with" in request.param else ())


async def test_amounts_are_of_one_machine(machine: Machine) -> None:
    seen = await machine.read()
    assert seen.cpu_millis > 0
    assert 0 <= seen.cpu_busy_millis <= seen.cpu_millis
    assert 0 < seen.memory_free_bytes <= seen.memory_bytes
    assert 0 < seen.disk_free_bytes <= seen.disk_bytes


async def test_gpus_have_names_of_their_own_and_sane_memory(machine: Machine) -> None:
    gpus = (await machine.read()).gpus
    assert len({gpu.uuid for gpu in gpus}) == len(gpus)
    for gpu in gpus:
        assert 0 <= gpu.vram_free_bytes <= gpu.vram_bytes


async def test_two_readings_agree_on_what_does_not_change(machine: Machine) -> None:
    first, second = await machine.read(), await machine.read()
    assert (first.cpu_millis, first.memory_bytes) == (second.cpu_millis, second.memory_bytes)
    assert [gpu.uuid for gpu in first.gpus] == [gpu.uuid for gpu in second.gpus]
