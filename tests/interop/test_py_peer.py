"""Stock py-libp2p meets a node."""

import pytest

from tests.interop.foreign_peer import stock_command
from tests.interop.meetings import be_dialled, be_refused, meet


async def test_on_an_open_network_it_echoes_gossips_and_uses_the_index() -> None:
    await meet(stock_command())


async def test_it_understands_a_node_that_dials_it() -> None:
    await be_dialled(stock_command())


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "private"])
async def test_without_interop_it_may_identify_and_ping(is_open: bool) -> None:
    await be_refused(stock_command(), is_open=is_open)
