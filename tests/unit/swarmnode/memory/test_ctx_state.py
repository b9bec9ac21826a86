"""`ctx.state`: fenced, encrypted, compared before it is set."""

import trio

from testnet.sim.seeded import simulated
from tests.memory_lab import Lab


@simulated
async def test_a_value_outlives_the_attempt_that_wrote_it() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.ask(op="state_put", key="best", value={"json": {"loss": 0.1}})
    other = Lab(pool=lab.pool, fence=2)
    async with other.watching():
        reply = await other.ask(op="state_get", key="best")
    assert reply["value"] == {"json": {"loss": 0.1}}


@simulated
async def test_whoever_keeps_the_state_reads_neither_its_keys_nor_its_values() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.ask(op="state_put", key="patient", value={"json": "secret words"})
        first = dict(lab.pool.names)
        await lab.ask(op="state_put", key="patient", value={"json": "secret words"})
    seen = repr((first, lab.pool.names))
    assert "patient" not in seen
    assert "secret" not in seen
    assert [held.value for held in first.values()] != [h.value for h in lab.pool.names.values()]
    stranger = Lab(pool=lab.pool)
    async with stranger.watching(state_key=bytes(32)):  # other names, and other seals
        assert (await stranger.ask(op="state_get", key="patient"))["value"] is None


@simulated
async def test_a_task_of_an_older_version_is_told_that_it_has_no_state() -> None:
    lab = Lab()
    async with lab.watching(names_grant=None, state_key=b""):
        reply = await lab.ask(op="state_get", key="k")
    assert reply["error"] == "unavailable"
    assert "older version" in reply["message"]


@simulated
async def test_an_older_attempt_cannot_write_any_more() -> None:
    old = Lab()
    new = Lab(pool=old.pool, fence=2)
    async with old.watching(), new.watching():
        await old.ask(op="state_put", key="k", value={"json": 1})
        await new.ask(op="state_put", key="k", value={"json": 2})
        stale = [
            await old.ask(op="state_put", key="k", value={"json": 3}),
            await old.ask(op="state_cas", key="k", expected={"json": 2}, value={"json": 3}),
        ]
        assert [reply["error"] for reply in stale] == ["stale", "stale"]
        assert (await new.ask(op="state_get", key="k"))["value"] == {"json": 2}


@simulated
async def test_compare_and_set_writes_only_over_what_was_expected() -> None:
    lab = Lab()
    async with lab.watching():
        cas = {"op": "state_cas", "key": "k"}
        assert (await lab.ask(**cas, expected=None, value={"json": 1}))["done"] is True
        assert (await lab.ask(**cas, expected=None, value={"json": 2}))["done"] is False
        assert (await lab.ask(**cas, expected={"json": 1}, value={"bytes": "eA=="}))["done"] is True
        assert (await lab.ask(op="state_get", key="k"))["value"] == {"bytes": "eA=="}


@simulated
async def test_many_writers_of_one_key_all_get_through() -> None:
    lab = Lab()
    async with lab.watching():

        async def count() -> None:
            for _ in range(5):
                while True:
                    now = (await lab.ask(op="state_get", key="n"))["value"]
                    value = {"json": (now["json"] if now else 0) + 1}
                    reply = await lab.ask(op="state_cas", key="n", expected=now, value=value)
                    if reply.get("done"):
                        break

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(count)
        assert (await lab.ask(op="state_get", key="n"))["value"] == {"json": 20}


@simulated
async def test_state_says_that_the_pool_is_away() -> None:
    lab = Lab()
    async with lab.watching():
        lab.pool.is_down = True
        assert (await lab.ask(op="state_get", key="k"))["error"] == "unavailable"
