"""What a job needs before its start, where a part of it is not what this version reads."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from blake3 import blake3

from p2p.ids import PeerId
from storage.facade import ReadCap
from storage.manifests.capability import text_of_cap
from swarmnode.executor.port import DataMount, JobId
from swarmnode.market.run.net import JobNet
from swarmnode.market.run.staging import JobOverError, stage
from swarmnode.packs.reading import read
from swarmnode.tasks.environments.records import BuiltEnvironment
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import JobRecord, RoomGrant
from swarmnode.tasks.spec import NetWant, TaskSpec
from testnet.sim.memory_objects import MemoryObjects
from testnet.sim.seeded import simulated
from tests.memory_lab import Lab


@dataclass(frozen=True)
class Straight:
    """Inputs as they come from the pool, and no datasets."""

    objects: MemoryObjects
    left: list[ReadCap] = field(default_factory=list)

    def stream(self, cap: ReadCap) -> AsyncIterator[bytes]:
        return read(self.objects, cap)

    async def let_go(self, cap: ReadCap) -> None:
        self.left.append(cap)

    async def mounts(self, job: JobId, wants: Sequence[tuple[str, str]]) -> tuple[DataMount, ...]:
        return ()


async def bytes_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


@simulated
async def test_a_folder_of_a_newer_version_is_for_another_machine_and_the_reason_is_plain() -> None:
    lab = Lab()
    newer = await lab.objects.put(bytes_of(b"swarm folder 2\n" + bytes(1000)))
    spec = TaskSpec(("true",), inputs=(("data", text_of_cap(newer.cap)),))
    record = JobRecord(TaskId("t"), 1, PeerId("alice"), 1, spec, RoomGrant(0, 0, 0), 0)
    with pytest.raises(JobOverError) as caught:
        await stage(lab.executor, Straight(lab.objects), lab.memory, JobNet(NetWant()), record)
    outcome = caught.value.outcome
    assert (outcome.status, outcome.reason) == ("unfit", "inputs")
    assert outcome.detail == (
        "an input cannot be read here: it is a folder in format 2, which a newer version of swarm "
        "wrote: this machine reads format 1; upgrade it"
    )


@simulated
async def test_of_an_environment_that_was_laid_out_nothing_is_kept_besides() -> None:
    lab = Lab()
    tree = bytes(1000)
    put = await lab.objects.put(bytes_of(tree))
    built = BuiltEnvironment(text_of_cap(put.cap), blake3(tree).digest(), len(tree), "x86_64")
    spec = TaskSpec(("true",), env=built.name, built=built)
    record = JobRecord(TaskId("t"), 1, PeerId("alice"), 1, spec, RoomGrant(0, 0, 0), 0)
    data = Straight(lab.objects)
    await stage(lab.executor, data, lab.memory, JobNet(NetWant()), record)
    assert data.left == [put.cap]
    assert built.name in lab.executor.environments()
