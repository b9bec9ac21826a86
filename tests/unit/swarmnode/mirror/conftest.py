"""An internet on this machine, and who vouches for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.mirror_lab import NAMES, Internet, internet_at
from tests.net_lab import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, NAMES)


@pytest.fixture
async def internet(authority: Authority) -> AsyncIterator[Internet]:
    with trio.fail_after(30):
        async with internet_at(authority) as one:
            yield one
