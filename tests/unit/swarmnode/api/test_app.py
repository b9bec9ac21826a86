"""Who may call, health, metrics, and whether the description fits the routes."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from swarmnode.api.access.tokens import TOKEN_SCOPES, add_token, hash_of, read_tokens
from swarmnode.api.app import SCOPES as METHODS_OF
from swarmnode.api.app import Gatekeeper, build_app
from swarmnode.api.events import EventHub
from swarmnode.api.openapi import ANSWERS, document
from swarmnode.api.routes.paths import all_routes
from swarmnode.cli.nouns.api import SCOPES
from swarmnode.errors import ConfigError
from testnet.sim.seeded import simulated
from tests.api_lab import FakeNode
from tests.asgi_lab import call


def gate(node: FakeNode, tokens: Mapping[str, str] | None = None) -> Gatekeeper:
    return Gatekeeper(build_app(all_routes(node, EventHub(node.market.buyer.events, "b"))), tokens)


@simulated
async def test_health_metrics_and_readiness() -> None:
    node = FakeNode()
    app = gate(node)
    assert (await call(app, "GET", "/healthz")).status == 200
    assert (await call(app, "GET", "/readyz")).status == 200
    node.reasons = ("no member answered yet",)
    waiting = await call(app, "GET", "/readyz")
    assert (waiting.status, bytes(waiting.body)) == (503, b"no member answered yet\n")
    text = bytes((await call(app, "GET", "/metrics")).body).decode()
    assert 'swarm_members{liveness="alive"} 3.0' in text
    assert "swarm_re_auctions_total 2.0" in text


@simulated
async def test_until_the_node_has_started_a_task_is_not_called_unknown() -> None:
    node, started = FakeNode(), False
    routes = all_routes(node, EventHub(node.market.buyer.events, "b"))
    app = Gatekeeper(build_app(routes, lambda: started), None)
    for path in ("/api/v1/tasks/t1", "/api/v1/objects", "/api/v1/peers"):
        answer = await call(app, "GET", path)
        assert (answer.status, answer.json()["code"]) == (503, "starting")
    for path in ("/healthz", "/readyz", "/api/v1/status", "/metrics"):
        assert (await call(app, "GET", path)).status == 200
    started = True
    assert (await call(app, "GET", "/api/v1/tasks/t1")).status == 404


@simulated
async def test_a_notice_out_of_bounds_is_refused() -> None:
    node = FakeNode()
    for grace_s in (-1, 601, "soon"):
        answer = await call(gate(node), "POST", "/api/v1/node/pause", {"grace_s": grace_s})
        assert answer.status == 400
    assert node.market.seller.paused == []


@simulated
async def test_the_owner_pauses_and_resumes_the_machine() -> None:
    node = FakeNode()
    app = gate(node)
    await call(app, "POST", "/api/v1/node/pause", {"grace_s": 1.5})
    await call(app, "POST", "/api/v1/node/resume", {})
    assert node.market.seller.paused == [1.5, None]


@simulated
async def test_on_the_socket_a_foreign_host_or_a_web_page_is_refused() -> None:
    app = gate(FakeNode())
    for headers, code in (({"host": "evil.example"}, "bad_host"), ({"origin": "x"}, "bad_origin")):
        answer = await call(app, "GET", "/api/v1/status", headers=headers)
        assert (answer.status, answer.json()["code"]) == (403, code)


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        ("", "GET", "/api/v1/status", 401),
        ("", "GET", "/healthz", 200),
        ("", "GET", "/metrics", 401),
        ("read", "GET", "/api/v1/status", 200),
        ("read", "GET", "/metrics", 200),
        ("read", "POST", "/api/v1/tasks", 403),
        ("submit", "POST", "/api/v1/tasks", 201),
        ("submit", "POST", "/api/v1/node/pause", 403),
        ("submit", "DELETE", "/api/v1/tasks/t1", 403),
        ("admin", "POST", "/api/v1/node/pause", 200),
    ],
)
def test_a_token_opens_what_its_scope_says(scope: str, method: str, path: str, status: int) -> None:
    @simulated
    async def answered() -> None:
        app = gate(FakeNode(), {hash_of("secret"): scope or "read"})
        headers = {"authorization": "Bearer secret"} if scope else {}
        body = {"run": ["true"]} if path.endswith("tasks") else {}
        assert (await call(app, method, path, body, headers=headers)).status == status

    answered()


@simulated
async def test_the_description_names_every_operation_and_every_struct_it_refers_to() -> None:
    node = FakeNode()
    routes = all_routes(node, EventHub(node.market.buyer.events, "b"))
    served = {
        (method, route.path)
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
        if route.path.startswith("/api/")
    }
    assert served == set(ANSWERS)
    found = (await call(gate(node), "GET", "/api/v1/openapi.json")).json()
    assert found["openapi"] == "3.1.0"
    schemas = found["components"]["schemas"]
    for ref in _references(found):
        assert ref.removeprefix("#/components/schemas/") in schemas
    names = [one["operationId"] for path in found["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names) == len(served)
    assert "checkpoint_step" in schemas["TaskDetail"]["properties"]
    assert document(routes)["paths"].keys() == found["paths"].keys()  # type: ignore[attr-defined]


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for one in value.values() for ref in _references(one)]
    if isinstance(value, list):
        return [ref for one in value for ref in _references(one)]
    return []


def test_a_token_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    file = folder / "tokens"
    first = add_token(file, "read", "grafana", lambda count: b"\1" * count)
    second = add_token(file, "admin", "", lambda count: b"\2" * count)
    assert read_tokens(file) == {hash_of(first): "read", hash_of(second): "admin"}
    assert first not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_token_files_that_cannot_be_used_are_refused_with_a_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigError, match="swarmnode api token"):
        read_tokens(tmp_path / "missing")
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("# a comment\n\nroot abc\n")
    with pytest.raises(ConfigError, match="wrong:3"):
        read_tokens(wrong)
    wrong.chmod(0o644)
    with pytest.raises(ConfigError, match="600"):
        read_tokens(wrong)


async def test_cancelled_readers_leave_the_loop_clean() -> None:
    app = gate(FakeNode())
    with trio.move_on_after(0.05):
        await call(app, "GET", "/api/v1/events")


def test_every_scope_that_a_token_may_have_can_be_asked_for_and_is_let_in() -> None:
    assert SCOPES == TOKEN_SCOPES
    assert set(TOKEN_SCOPES) <= set(METHODS_OF)
