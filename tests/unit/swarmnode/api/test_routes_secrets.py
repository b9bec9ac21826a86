"""Secrets over HTTP: values come in and are never told, to whoever else asks least of all."""

import os

import trio

from swarmnode.api.app import Asgi, build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.people.seals import public_of
from tests.api_lab import FakeNode
from tests.asgi_lab import as_person, call

VALUE = b"binary \x00\xff value\n"


def app_of(node: FakeNode) -> Asgi:
    return build_app(all_routes(node, EventHub(node.market.buyer.events, "boot")))


async def let_in(node: FakeNode, name: str, uid: int) -> None:
    secret = os.urandom(32)
    await node.household.people.add(name, uid)
    await node.household.people.set_key(name, public_of(secret), b"", instead_of=b"")
    node.household.seals.unlock(name, secret)


async def test_two_people_of_a_node_do_not_see_each_other_s() -> None:
    node = FakeNode()
    async with trio.open_nursery() as nursery:
        await nursery.start(node.tables.run)
        app = app_of(node)
        await let_in(node, "bob", 2001)
        await let_in(node, "cy", 2002)
        bob, cy = as_person(app, "bob"), as_person(app, "cy")
        made = await call(bob, "POST", "/api/v1/secrets/hf", VALUE)
        assert (made.status, made.json()["size"]) == (201, len(VALUE))
        assert [row["name"] for row in (await call(bob, "GET", "/api/v1/secrets")).json()] == ["hf"]
        for other in (cy, app):
            assert (await call(other, "GET", "/api/v1/secrets")).json() == []
            assert (await call(other, "DELETE", "/api/v1/secrets/hf")).status == 404
            spec = {"run": ["true"], "secrets": ["hf=/run/secrets/hf"]}
            refused = await call(other, "POST", "/api/v1/tasks", spec)
            assert (refused.status, refused.json()["code"]) == (404, "secret_unknown")
        taken = await call(bob, "POST", "/api/v1/tasks", spec)
        assert (taken.status, node.market.buyer.secrets_given) == (201, {"hf": VALUE})
        for path in ("/api/v1/tasks", f"/api/v1/tasks/{taken.json()['task']}", "/api/v1/status"):
            answer = await call(bob, "GET", path)
            assert answer.status == 200
            assert b"binary" not in answer.body
        assert (await call(bob, "DELETE", "/api/v1/secrets/hf")).status == 200
        assert node.market.buyer.secrets_removed == [("bob", "hf")]
        nursery.cancel_scope.cancel()


async def test_a_removal_that_could_not_hold_tasks_back_can_be_asked_for_again() -> None:
    node = FakeNode()
    async with trio.open_nursery() as nursery:
        await nursery.start(node.tables.run)
        app = app_of(node)
        assert (await call(app, "POST", "/api/v1/secrets/hf", VALUE)).status == 201
        node.market.buyer.is_full = True
        assert (await call(app, "DELETE", "/api/v1/secrets/hf")).status == 507
        assert len((await call(app, "GET", "/api/v1/secrets")).json()) == 1
        node.market.buyer.is_full = False
        assert (await call(app, "DELETE", "/api/v1/secrets/hf")).status == 200
        assert node.market.buyer.secrets_removed == [("", "hf")]
        gone = await call(app, "DELETE", "/api/v1/secrets/hf")
        assert (gone.status, "secret ls" in gone.json()["detail"]) == (404, True)
        nursery.cancel_scope.cancel()


async def test_a_lab_is_meant_by_its_name_or_id_and_an_unknown_one_is_refused() -> None:
    node = FakeNode()
    async with trio.open_nursery() as nursery:
        await nursery.start(node.tables.run)
        app = app_of(node)
        spec = {"run": ["true"], "secret_to": ["nowhere"]}
        refused = await call(app, "POST", "/api/v1/tasks", spec)
        assert refused.status == 400
        assert "no lab 'nowhere'" in refused.json()["detail"]
        assert (
            await call(app, "POST", "/api/v1/tasks", spec | {"secret_to": ["any"]})
        ).status < 300
        nursery.cancel_scope.cancel()
