"""js-libp2p meets a node. Needs npm and its registry: `make test-interop`."""

import pytest
import trio

from tests.interop.foreign_peer import install, js_command, running, stock_command
from tests.interop.meetings import be_dialled, be_refused, heard, meet
from tests.interop.open_swarm import open_swarm

pytestmark = pytest.mark.interop


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    install()


async def test_on_an_open_network_it_echoes_gossips_and_uses_the_index() -> None:
    await meet(js_command())


async def test_it_understands_a_node_that_dials_it() -> None:
    await be_dialled(js_command())


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "private"])
async def test_without_interop_it_may_identify_and_ping(is_open: bool) -> None:
    await be_refused(js_command(), is_open=is_open)


async def test_guests_of_a_running_node_hear_one_another_and_find_it() -> None:
    with open_swarm() as (node, names), trio.fail_after(40):
        async with (
            running([*js_command(), *names]) as js,
            running([*stock_command(), *names]) as stock,
        ):
            for one in (js, stock):
                await one.do("connect", address=node.address)
                await one.do("listeners", least=1)
            await heard(js, stock, "from js")
            await heard(stock, js, "from py")
            for one in (js, stock):
                await one.do("knows", least=1)
                found = await one.do("find", key=node.network)
                assert node.peer in found["providers"]
                assert (await one.do("echo", size=100_000))["equal"]
        status = node.status()
        assert status["members_alive"] == 1
