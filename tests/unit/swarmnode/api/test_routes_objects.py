"""Objects through the API: what is listed, to whom, and what it costs."""

import json
from typing import Any

import msgspec
import pytest
import trio
from blake3 import blake3
from msgspec.structs import replace

from storage.facade import Mark, ObjectKind
from storage.ids import Address
from storage.manifests.capability import parse_cap, text_of_address, text_of_cap
from swarmnode.api.access.tokens import hash_of
from swarmnode.api.app import Asgi, Gatekeeper, build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import Outcome
from tests.api_lab import FakeNode
from tests.asgi_lab import Answered, as_person, call
from tests.fake_market import BOB

SCOPES = ("read", "submit", "admin")


def app_of(node: FakeNode) -> Asgi:
    return build_app(all_routes(node, EventHub(node.market.buyer.events, "boot")))


def with_tokens(app: Asgi) -> Asgi:
    return Gatekeeper(app, {hash_of(one): one for one in SCOPES})


async def ask(app: Asgi, scope: str, path: str) -> Answered:
    return await call(app, "GET", path, headers={"authorization": f"Bearer {scope}"})


async def test_a_list_says_when_how_large_whose_and_what_it_survives() -> None:
    node = FakeNode()
    app = app_of(node)
    made = (await call(app, "POST", "/api/v1/objects?name=a", b"12345")).json()
    await call(app, "POST", "/api/v1/objects?name=b&kind=input", b"678")
    rows = (await call(app, "GET", "/api/v1/objects?survives=1")).json()
    assert [(one["name"], one["size"], one["kind"], one["survives"]) for one in rows] == [
        ("a", 5, "", "any 1 machine"),
        ("b", 3, "input", "any 1 machine"),
    ]
    assert rows[0]["cap"] == made["cap"]
    assert [one["survives"] for one in (await call(app, "GET", "/api/v1/objects")).json()] == [
        "",
        "",
    ]
    assert (await call(app, "POST", "/api/v1/objects?kind=output", b"x")).status == 400


async def test_who_may_only_look_sees_names_and_sizes_and_no_capability_anywhere() -> None:
    node = FakeNode()
    app = with_tokens(app_of(node))
    made = await call(app_of(node), "POST", "/api/v1/objects?name=a", b"12345")
    cap = made.json()["cap"]
    spec = {"run": ["cat", cap], "inputs": {"data": cap}}
    task = TaskId((await call(app_of(node), "POST", "/api/v1/tasks", spec)).json()["task"])
    node.market.buyer.finish(task, Outcome("done", 0, "exit", outputs=(StoredFile("out", 5, cap),)))
    one = f"/api/v1/tasks/{task}"
    tasks = ("/api/v1/tasks", one, f"{one}/wait", f"{one}/explain")
    for path in ("/api/v1/objects", *tasks, "/api/v1/status"):
        found = await ask(app, "read", path)
        assert found.status == 200, path
        assert cap.encode() not in found.body, path
    row = (await ask(app, "read", "/api/v1/objects")).json()[0]
    assert (row["name"], row["size"]) == ("a", 5)
    assert (await ask(app, "read", f"/api/v1/tasks/{task}")).json()["outputs"][0]["name"] == "out"
    for scope in ("submit", "admin"):
        assert cap.encode() in (await ask(app, scope, "/api/v1/objects")).body
        assert cap.encode() in (await ask(app, scope, f"/api/v1/tasks/{task}")).body


@pytest.mark.parametrize("scope", SCOPES)
async def test_variables_that_look_secret_are_shown_to_nobody(scope: str) -> None:
    node = FakeNode()
    spec = {"run": ["x"], "variables": {"HF_TOKEN": "tell nobody", "EPOCHS": "3"}}
    task = (await call(app_of(node), "POST", "/api/v1/tasks", spec)).json()["task"]
    found = await ask(with_tokens(app_of(node)), scope, f"/api/v1/tasks/{task}")
    assert found.json()["spec"]["variables"] == {"HF_TOKEN": "(hidden)", "EPOCHS": "3"}
    assert b"tell nobody" not in found.body
    kept = node.market.buyer.views[TaskId(task)].record.spec
    assert dict(kept.variables)["HF_TOKEN"] == "tell nobody"


async def test_the_same_bytes_are_found_and_claimed_while_they_are_whole() -> None:
    node = FakeNode()
    app = app_of(node)
    made = (await call(app, "POST", "/api/v1/objects?name=a&kind=input", b"12345")).json()
    wanted = {"digest": blake3(b"12345").hexdigest()}
    found = await call(app, "POST", "/api/v1/objects/same", wanted)
    assert (found.status, found.json()["cap"]) == (200, made["cap"])
    assert node.estate.claimed == [parse_cap(made["cap"]).address]
    other = {"digest": blake3(b"54321").hexdigest()}
    assert (await call(app, "POST", "/api/v1/objects/same", other)).status == 404
    for bad in ("", "zz", "AB" * 32):
        answer = await call(app, "POST", "/api/v1/objects/same", {"digest": bad})
        assert answer.status == 400
    node.objects._pool.objects.clear()  # its holders are gone
    assert (await call(app, "POST", "/api/v1/objects/same", wanted)).status == 404


async def test_what_its_owner_removed_is_named_and_dated_for_nobody_else() -> None:
    node = FakeNode()
    app = app_of(node)
    made = (await call(app, "POST", "/api/v1/objects?name=thesis", b"12345")).json()
    path = f"/api/v1/objects/{made['address']}"
    assert (await call(app, "DELETE", path)).json()["changed"] is True
    asked = (
        ("GET", path, b""),
        ("DELETE", path, b""),
        ("POST", "/api/v1/objects/read", {"cap": made["cap"]}),
    )
    for method, where, body in asked:
        answer = await call(app, method, where, body)
        assert (answer.status, answer.json()["code"]) == (404, "object_unknown")
        assert answer.json()["detail"].startswith("thesis was removed on "), method
        other = await call(as_person(app, "bob"), method, where, body)
        assert "thesis" not in other.json()["detail"]


async def test_costs_are_summed_by_task_and_kind_the_dearest_first() -> None:
    node = FakeNode()
    for kind, task, size in (
        ("", "", 10),
        (ObjectKind.OUTPUT, "t1", 7),
        (ObjectKind.OUTPUT, "t1", 5),
    ):
        await node.objects.put(_bytes(size), mark=Mark(kind, task))
    rows = (await call(app_of(node), "GET", "/api/v1/costs")).json()
    assert [(one["task"], one["kind"], one["objects"], one["stored"]) for one in rows] == [
        ("t1", "output", 2, 12),
        ("", "", 1, 10),
    ]


async def test_what_is_not_ones_own_cannot_be_removed_and_the_answer_says_so() -> None:
    node = FakeNode()
    app = app_of(node)
    made = (await call(app, "POST", "/api/v1/objects?name=a", b"12345")).json()
    assert (await call(app, "DELETE", f"/api/v1/objects/{made['address']}")).json()["changed"]
    other = as_person(app, "bob")
    again = await call(other, "DELETE", f"/api/v1/objects/{made['address']}")
    assert (again.status, again.json()["code"]) == (404, "object_unknown")
    assert "obj ls" in again.json()["detail"]


async def test_people_of_one_machine_see_and_change_their_own_things_only() -> None:
    node = FakeNode()
    app = app_of(node)
    ann, ben = as_person(app, "ann"), as_person(app, "ben")
    made = (await call(ann, "POST", "/api/v1/objects?name=secret-plan&kind=input", b"12345")).json()
    task = (await call(ann, "POST", "/api/v1/tasks", {"run": ["x"]})).json()["task"]
    for path in ("/api/v1/objects", "/api/v1/tasks", "/api/v1/costs"):
        assert len((await call(ann, "GET", path)).json()) == 1
        for other in (ben, app):
            assert (await call(other, "GET", path)).json() == []
    for other in (ben, app):
        assert (await call(other, "DELETE", f"/api/v1/objects/{made['address']}")).status == 404
        same = {"digest": blake3(b"12345").hexdigest()}
        assert (await call(other, "POST", "/api/v1/objects/same", same)).status == 404
        for method, what in (
            ("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/wait"),
            ("GET", "/explain"), ("GET", "/logs"),
        ):  # fmt: skip
            answer = await call(other, method, f"/api/v1/tasks/{task}{what}")
            assert (answer.status, answer.json()["code"]) == (404, "task_unknown"), what
    assert not node.market.buyer.views[TaskId(task)].has_ended
    assert (await call(ann, "POST", f"/api/v1/tasks/{task}/cancel")).json()["state"] == "cancelled"
    assert (await call(ann, "DELETE", f"/api/v1/objects/{made['address']}")).status == 200


async def test_events_are_told_to_whom_they_concern() -> None:
    node = FakeNode()
    hub = EventHub(
        node.market.buyer.events, "boot", lambda task: node.market.buyer.task(task).record.person
    )
    app = build_app(all_routes(node, hub))
    heard = {"ann": Answered(), "ben": Answered()}
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        for person, answered in heard.items():

            async def follow(app: Asgi, answered: Answered) -> None:
                await call(app, "GET", "/api/v1/events", answered=answered)

            nursery.start_soon(follow, as_person(app, person), answered)
            await answered.until(b"boot")
        for person in ("ann", "ben"):
            await call(as_person(app, person), "POST", "/api/v1/tasks", {"run": ["x"]})
        await heard["ann"].until(b'"t1"')
        await heard["ben"].until(b'"t2"')
        assert b'"t2"' not in heard["ann"].body
        assert b'"t1"' not in heard["ben"].body
        nursery.cancel_scope.cancel()


def test_what_is_hidden_is_hidden_in_any_shape_of_answer() -> None:
    from swarmnode.api.access.asker import _without_capabilities

    cap = text_of_cap(_cap())
    value = {"a": [f"--data={cap}", {"b": (cap, 3)}], "c": cap.upper()}
    told = json.dumps(_without_capabilities(msgspec.to_builtins(value)))
    assert "swarm:" not in told.lower().replace("(hidden)", "")


def _cap() -> Any:  # noqa: ANN401
    from storage.facade import ReadCap
    from storage.ids import Address, ObjectKey

    return ReadCap(Address(bytes(32)), ObjectKey(bytes(32)))


async def _bytes(size: int) -> Any:  # noqa: ANN401
    yield b"x" * size


@pytest.mark.parametrize("wrong", [{"start": -1}, {"length": -5}])
async def test_bytes_that_no_object_can_have_are_the_askers_mistake(wrong: dict[str, int]) -> None:
    node = FakeNode()
    app = app_of(node)
    made = (await call(app, "POST", "/api/v1/objects", b"12345")).json()
    asked = json.dumps({"cap": made["cap"], **wrong}).encode()
    assert (await call(app, "POST", "/api/v1/objects/read", asked)).status == 400


async def test_the_labs_key_removes_for_the_owner_of_the_machine_alone() -> None:
    node = FakeNode()
    app = app_of(node)
    address = text_of_address(Address(bytes(32)))
    path = f"/api/v1/objects/{address}?as_lab=1&reason=by%20mistake"
    assert (await call(as_person(app, "bob"), "DELETE", path)).status == 403
    assert not node.removed_as_lab
    told = (await call(app, "DELETE", path)).json()
    assert (told["holders"], told["dropped"], told["waiting"]) == (2, 1, [BOB])
    assert node.removed_as_lab == [(bytes(32), "by mistake")]
    assert (await call(app, "DELETE", f"{path}{'!' * 200}")).status == 400


async def test_what_the_labs_key_removed_is_listed_as_that_and_costs_nothing() -> None:
    node = FakeNode()
    app = app_of(node)
    await call(app, "POST", "/api/v1/objects?name=a", b"12345")
    (address,) = node.objects._entries
    gone = replace(node.objects._entries[address], removed_ms=1000, removed_why="by mistake")
    node.objects._entries[address] = gone
    (line,) = (await call(app, "GET", "/api/v1/objects?survives=1")).json()
    assert (line["removed_ms"], line["removed_why"], line["survives"]) == (1000, "by mistake", "")
    assert (await call(app, "GET", "/api/v1/costs")).json() == []
