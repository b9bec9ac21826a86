"""What every Executor promises of leases: a job outlives none."""

from tests.executor_lab import JOB, Machine
from tests.job_lab import spec


async def test_a_job_whose_lease_is_not_renewed_is_told_and_ends(machine: Machine) -> None:
    async with machine.node() as node:
        node.renew(JOB, 0.6, 0.3)
        await node.prepare(JOB)
        await node.start(spec(JOB, *machine.argv("sleep 600")))
        ended = await node.wait(JOB)
    assert ended.reason == "lease"
    assert ended.wall_s < 5


async def test_a_job_that_is_deaf_to_the_notice_ends_with_its_lease(machine: Machine) -> None:
    async with machine.node() as node:
        await node.prepare(JOB)
        node.renew(JOB, 1.6, 0.5)  # time to come to say that it is deaf
        await node.start(spec(JOB, *machine.argv("stubborn 600")))
        ended = await node.wait(JOB)
    assert ended.reason == "lease"
    assert 0.3 < ended.wall_s < 5


async def test_a_lease_ends_a_job_while_no_node_is_there(machine: Machine) -> None:
    async with machine.node() as node:
        node.renew(JOB, 0.8, 0.2)
        await node.prepare(JOB)
        await node.start(spec(JOB, *machine.argv("sleep 600")))
    async with machine.node() as node:
        ended = await node.wait(JOB)
    assert ended.reason == "lease"


async def test_a_renewed_lease_lets_the_job_go_on(machine: Machine) -> None:
    async with machine.node() as node:
        node.renew(JOB, 2.0, 0.1)  # a start takes its time on a busy machine
        await node.prepare(JOB)
        await node.start(spec(JOB, *machine.argv("sleep 2.3")))
        node.renew(JOB, 600, 10)
        node.renew(JOB, 0.5, 0.1)  # a lease only grows
        ended = await node.wait(JOB)
    assert (ended.reason, ended.code) == ("exit", 0)
