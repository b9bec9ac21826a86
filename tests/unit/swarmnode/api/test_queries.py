"""What stands behind the `?` of a request: known keys only, and a fault said in words."""

import pytest
from starlette.applications import Starlette

from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from testnet.sim.seeded import simulated
from tests.api_lab import FakeNode
from tests.asgi_lab import call


def an_app() -> Starlette:
    node = FakeNode()
    return build_app(all_routes(node, EventHub(node.market.buyer.events, "b00t")))


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "tasks?limit=-1", "limit is a number from 0 to 9007199254740992"),
        ("GET", "tasks?stat=done&limit=1", "no parameter 'stat': there are state, name, "),
        ("POST", "tasks?dryrun=1", "no parameter 'dryrun': there are dry_run, detach"),
        ("DELETE", "tasks/t1?force=1", "no parameter 'force': there are none here"),
        ("GET", "peers?a=1", "no parameter 'a': there are none here"),
        ("POST", "objects?nam=x", "no parameter 'nam': there are name, durability, kind"),
    ],
)
def test_a_wrong_query_is_refused_in_words(method: str, path: str, words: str) -> None:
    @simulated
    async def problem() -> None:
        answer = await call(an_app(), method, f"/api/v1/{path}")
        assert (answer.status, answer.json()["code"]) == (400, "bad_request")
        assert answer.json()["title"] == "the request is wrong"
        assert answer.json()["detail"].startswith(words)

    problem()


@simulated
async def test_what_is_known_is_served_also_for_its_head_and_scrapers_add_what_they_like() -> None:
    app = an_app()
    assert (await call(app, "GET", "/api/v1/tasks?limit=1&state=done&state=failed")).status == 200
    assert (await call(app, "HEAD", "/api/v1/tasks?limit=1")).status == 200
    assert (await call(app, "HEAD", "/api/v1/tasks?limits=1")).status == 400
    assert (await call(app, "GET", "/metrics?format=prometheus")).status == 200
