"""js-libp2p meets a node. Needs npm and its registry: `make test-interop`."""

import pytest

from tests.interop.foreign_peer import install, js_command
from tests.interop.meetings import be_refused, meet

pytestmark = pytest.mark.interop


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    install()


async def test_on_an_open_network_it_echoes_gossips_and_uses_the_index() -> None:
    await meet(js_command())


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "private"])
async def test_without_interop_it_may_identify_and_ping(is_open: bool) -> None:
    await be_refused(js_command(), is_open=is_open)
