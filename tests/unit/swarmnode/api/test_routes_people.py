"""A person's key over HTTP: who may bring it, and what a locked person is told."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from storage.facade import ReadCap
from storage.manifests.capability import parse_cap, text_of_cap
from swarmnode.api.access.asker import KEY, LOCKED, Principal
from swarmnode.api.access.tokens import TokenBook
from swarmnode.api.app import Asgi, build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.home.config import ApiSection, Config
from swarmnode.market.explain import TaskView
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import Outcome
from tests.api_lab import FakeNode
from tests.asgi_lab import call

SECRET, SALT = bytes([7] * 32).hex(), bytes([1] * 16).hex()
BEN = Principal("ben", "person")
OBJECTS = "/api/v1/objects"


class Lab:
    """A node to which ben was let in, and which has sealed what he put."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.app = build_app(all_routes(self.node, EventHub(self.node.market.buyer.events, "boot")))

    def asked_by(self, asker: Principal) -> Asgi:
        async def asked(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
            await self.app({**scope, KEY: asker}, receive, send)

        return asked

    async def said(
        self,
        method: str,
        path: str,
        body: Any = b"",  # noqa: ANN401
        asker: Principal = BEN,
    ) -> Any:  # noqa: ANN401
        return (await call(self.asked_by(asker), method, path, body)).json()

    async def bring(self, secret: str = SECRET, asker: Principal = BEN, **more: bool) -> Any:  # noqa: ANN401
        return await self.said(
            "POST", "/api/v1/me/key", {"secret": secret, "salt": SALT, **more}, asker
        )

    def seal_entries(self) -> None:
        """As the keyring of a real node does."""
        objects, seals = self.node.objects, self.node.household.seals
        for one in objects.entries():
            key = seals.seal_key("ben", one.cap.address, one.cap.key)
            cap = ReadCap(one.cap.address, key)
            objects._entries[cap.address] = replace(one, cap=cap)


@pytest.fixture
async def lab() -> Lab:
    found = Lab()
    await found.node.household.people.add("ben", 1001)
    return found


async def test_a_person_is_told_whether_their_key_is_known_and_unlocked(lab: Lab) -> None:
    async def key() -> str:
        found: str = (await lab.said("GET", "/api/v1/me"))["key"]
        return found

    assert await key() == "none"
    assert (await lab.bring())["key"] == "unlocked"
    assert await key() == "unlocked"
    assert await lab.said("DELETE", "/api/v1/me/key") == {"changed": True}
    assert await lab.said("DELETE", "/api/v1/me/key") == {"changed": False}
    assert await key() == "locked"
    assert (await lab.said("GET", "/api/v1/me", asker=Principal()))["key"] == ""


async def test_a_key_is_brought_by_its_person_s_own_connection_only(lab: Lab) -> None:
    for asker in (
        Principal("ben", "submit"),
        Principal("ben", "read"),
        Principal(),
        Principal("", "submit"),
    ):
        refused = await lab.bring(asker=asker)
        assert refused["code"] == "not_allowed", asker
    assert not lab.node.household.seals.has_key("ben")
    assert (await lab.bring("00" * 31))["code"] == "bad_request"
    assert SECRET not in str(await lab.bring(SECRET + "0"))


async def test_another_key_is_refused_with_the_remedy_and_taken_when_it_is_meant(lab: Lab) -> None:
    await lab.bring()
    other = os.urandom(32).hex()
    refused = await lab.bring(other)
    assert (refused["status"], refused["code"]) == (409, "other_key")
    assert "swarmnode unlock --new-key" in refused["detail"]
    assert (await lab.bring(other, anew=True))["key"] == "unlocked"


async def test_capabilities_show_while_unlocked_and_a_locked_person_is_told_what_to_do(
    lab: Lab,
) -> None:
    await lab.bring()
    made = await lab.said("POST", f"{OBJECTS}?name=a", b"12345")
    lab.seal_entries()
    script = Principal("ben", "submit")
    (row,) = await lab.said("GET", OBJECTS, asker=script)
    assert row["cap"] == made["cap"]
    lab.node.household.seals.lock("ben")
    (row,) = await lab.said("GET", OBJECTS, asker=script)
    assert (row["name"], row["address"], row["cap"]) == ("a", made["address"], LOCKED)
    refused = await lab.said("POST", f"{OBJECTS}/read", {"cap": row["cap"]}, script)
    assert (refused["status"], refused["code"]) == (423, "locked")
    assert "swarmnode unlock" in refused["detail"]
    digest = {"digest": lab.node.objects.entries()[0].digest.hex()}
    assert (await lab.said("POST", f"{OBJECTS}/same", digest, script))["code"] == "object_unknown"
    assert (await lab.said("DELETE", f"{OBJECTS}/{row['address']}", asker=script))["changed"]


async def test_a_read_token_sees_no_capability_of_an_unlocked_person_either(lab: Lab) -> None:
    await lab.bring()
    await lab.said("POST", f"{OBJECTS}?name=a", b"12345")
    lab.seal_entries()
    (row,) = await lab.said("GET", OBJECTS, asker=Principal("ben", "read"))
    assert row["cap"] == "(hidden)"


async def test_outputs_of_a_sealed_task_show_and_it_is_retried_while_unlocked(lab: Lab) -> None:
    await lab.bring()
    made = await lab.said("POST", OBJECTS, b"12345")
    cap = parse_cap(made["cap"])
    sealed = text_of_cap(
        ReadCap(cap.address, lab.node.household.seals.seal_key("ben", cap.address, cap.key))
    )
    task = TaskId((await lab.said("POST", "/api/v1/tasks", {"run": ["x"]}))["task"])
    market, files = lab.node.market, (StoredFile("a", 5, sealed),)
    market.buyer.finish(task, Outcome("done", 0, "exit", outputs=files))
    record = market.buyer.views[task].record
    spec = msgspec.structs.replace(record.spec, inputs=(("a", sealed),))
    market.buyer.views[task] = TaskView(msgspec.structs.replace(record, spec=spec))
    path = f"/api/v1/tasks/{task}"
    shown = await lab.said("GET", path)
    assert shown["outputs"][0]["cap"] == made["cap"]
    assert "sealed:" not in str(shown)
    again = (await lab.said("POST", f"{path}/retry"))["task"]
    assert dict(lab.node.market.buyer.views[again].record.spec.inputs) == {"a": made["cap"]}
    lab.node.household.seals.lock("ben")
    assert (await lab.said("GET", path))["outputs"][0]["cap"] == LOCKED
    assert (await lab.said("POST", f"{path}/retry"))["code"] == "locked"


async def test_a_stranger_who_knows_an_address_learns_no_name(lab: Lab) -> None:
    made = await lab.said("POST", f"{OBJECTS}?name=secret-plan", b"12345")
    path = f"{OBJECTS}/{made['address']}"
    assert (await lab.said("GET", path))["name"] == "secret-plan"
    for other in (Principal("ann", "person"), Principal()):
        assert (await lab.said("GET", path, asker=other))["name"] == ""


async def test_who_is_let_in_no_more_is_locked(lab: Lab) -> None:
    await lab.bring()
    await lab.said("DELETE", "/api/v1/people/ben", asker=Principal())
    assert not lab.node.household.seals.is_unlocked("ben")


async def test_who_lets_somebody_in_learns_where_they_get_in_and_the_owner_needs_it_not(
    lab: Lab,
) -> None:
    cy = {"name": "cy", "uid": 1002}
    said = await lab.said("POST", "/api/v1/people", cy, asker=Principal())
    assert said == {"changed": True, "socket": ""}
    lab.node.config = Config(api=ApiSection(shared="/run/swarm/api.sock"))
    lab.app = build_app(all_routes(lab.node, EventHub(lab.node.market.buyer.events, "boot")))
    said = await lab.said("POST", "/api/v1/people", cy, asker=Principal())
    assert said == {"changed": False, "socket": "/run/swarm/api.sock"}
    owner = {"name": "me", "uid": os.geteuid()}
    said = await lab.said("POST", "/api/v1/people", owner, asker=Principal())
    assert (said["status"], said["code"]) == (409, "person_refused")
    assert "is the owner of this node" in said["detail"]


@pytest.mark.parametrize("tcp", ["", "127.0.0.1:4851"])
async def test_who_makes_a_token_learns_where_it_is_taken(
    lab: Lab, tmp_path: Path, tcp: str
) -> None:
    lab.node.config = Config(api=ApiSection(tcp=tcp))
    hub, book = EventHub(lab.node.market.buyer.events, "boot"), TokenBook(tmp_path / "tokens")
    lab.app = build_app(all_routes(lab.node, hub, book))
    said = await lab.said("POST", "/api/v1/tokens", {"scope": "read"})
    assert (said["scope"], said["tcp"]) == ("read", tcp)


async def test_a_person_s_status_is_theirs(lab: Lab) -> None:
    assert (await lab.said("GET", "/api/v1/status"))["warnings"] == ["of ben\n"]
    assert (await lab.said("GET", "/api/v1/status", asker=Principal()))["warnings"] == []
