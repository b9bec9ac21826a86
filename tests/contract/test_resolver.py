"""What every Resolver promises."""

import pytest

from swarmnode.executor.network.resolver import HostResolver, Resolver, TableResolver


@pytest.fixture(params=["host", "table"])
def resolver(request: pytest.FixtureRequest) -> Resolver:
    if request.param == "host":
        return HostResolver()
    return TableResolver({"localhost": ["127.0.0.1", "::1"]})


async def test_a_host_has_addresses(resolver: Resolver) -> None:
    found = await resolver.places("localhost", 443)
    assert set(found) & {("127.0.0.1", 443), ("::1", 443)}


async def test_a_host_that_is_none_is_told_in_words(resolver: Resolver) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - its text depends on the machine
        await resolver.places("no-such-host.invalid", 443)
    assert raised.value.strerror
