"""Tasks through the local API, against a market that does what the test says."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio
from starlette.applications import Starlette

from p2p.identity.keys import peer_id_of
from p2p.ids import PeerId
from storage.manifests.capability import text_of_cap
from swarmnode.api.access.asker import KEY, Principal
from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.market.buyer.own_machines.hand_over import RemovedElsewhere
from swarmnode.market.explain import TaskView
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.choices import JobSignal
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import Outcome, TaskRecord, Usage
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.seeded import simulated
from tests.api_lab import FakeNode
from tests.asgi_lab import Answered, as_person, call
from tests.fake_market import ADA, BOB

STRANGER = peer_id_of(bytes(32))
"""Of a machine that is not known here."""
HELLO = {"run": ["echo", "hello"]}


def app_of(node: FakeNode) -> Starlette:
    return build_app(all_routes(node, EventHub(node.market.buyer.events, "b00t")))


async def with_hello() -> tuple[FakeNode, Starlette]:
    """A node to which the task t1 was submitted."""
    node = FakeNode()
    app = app_of(node)
    await call(app, "POST", "/api/v1/tasks", HELLO)
    return node, app


@simulated
async def test_a_task_is_submitted_as_json_and_shown() -> None:
    node = FakeNode()
    app = app_of(node)
    made = await call(app, "POST", "/api/v1/tasks", {**HELLO, "name": "greet", "priority": 3})
    assert (made.status, made.json()) == (201, {"task": "t1", "guardians": [], "note": ""})
    shown = (await call(app, "GET", "/api/v1/tasks/t1")).json()
    assert shown["spec"] == {**HELLO, "name": "greet", "priority": 3}
    assert (shown["state"], shown["phase"], shown["exit_code"]) == ("submitted", "unknown", None)
    (line,) = (await call(app, "GET", "/api/v1/tasks")).json()
    assert (line["task"], line["name"], line["run"]) == ("t1", "greet", ["echo", "hello"])


@simulated
async def test_a_task_is_submitted_as_detached_and_the_answer_names_its_guardians() -> None:
    node = FakeNode()
    app = app_of(node)
    made = await call(app, "POST", "/api/v1/tasks?detach=1", HELLO)
    assert (made.status, made.json()) == (201, {"task": "t1", "guardians": [BOB], "note": ""})
    node.market.buyer.finish(TaskId("t1"))
    again = (await call(app, "POST", "/api/v1/tasks/t1/retry")).json()
    assert again == {"task": "t2", "of": "t1", "guardians": [BOB], "note": ""}


@simulated
async def test_a_task_is_submitted_as_toml() -> None:
    node = FakeNode()
    body = b'run = ["echo", "hello"]\n[shape]\ncpu = 2\n'
    headers = {"content-type": "application/toml; charset=utf-8"}
    made = await call(app_of(node), "POST", "/api/v1/tasks", body, headers=headers)
    assert made.status == 201
    assert node.market.buyer.views[TaskId("t1")].record.spec.shape.cpu_millis == 2000


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{", "bad_spec", "not JSON"),
        (b"[]", "bad_spec", "JSON object"),
        (b"{}", "bad_spec", "run"),
        (b'{"run": ["x"], "prioritty": 1, "retries": -1}', "bad_spec", "did you mean 'priority'"),
        (b"x" * (1024 * 1024 + 1), "bad_request", "exceeds"),
    ],
)
def test_a_wrong_spec_is_refused_with_every_fault(body: bytes, code: str, words: str) -> None:
    @simulated
    async def refused() -> None:
        answer = await call(app_of(FakeNode()), "POST", "/api/v1/tasks", body)
        assert (answer.status, answer.json()["code"]) == (400, code)
        assert words in answer.json()["detail"]

    refused()


@simulated
async def test_a_dry_run_says_who_would_win_and_submits_nothing() -> None:
    node = FakeNode()
    answer = await call(app_of(node), "POST", "/api/v1/tasks?dry_run=1", HELLO)
    (held, refused) = answer.json()["rounds"][0]["bids"]
    assert (answer.status, answer.json()["task"]) == (200, "")
    assert (held["peer"], held["won"], held["parts"]) == (ADA, True, {"price": 100, "eta": 50})
    assert (refused["peer"], refused["kind"], refused["reason"]) == (BOB, "refused", "capacity")
    assert node.market.buyer.views == {}


@pytest.mark.parametrize("query", ["", "?dry_run=1", "?detach=1"])
@simulated
async def test_class_owner_of_another_person_is_refused_however_it_is_asked_for(query: str) -> None:
    app = as_person(app_of(FakeNode()), "ben")
    told = await call(app, "POST", f"/api/v1/tasks{query}", {**HELLO, "class": "owner"})
    assert told.status == 400
    assert "class owner is for the owner of this machine" in told.json()["detail"]


@pytest.mark.parametrize("query", ["", "?dry_run=1", "?detach=1"])
@simulated
async def test_a_machine_that_is_not_said_by_its_id_is_refused_with_the_id_of_that_name(
    query: str,
) -> None:
    node = FakeNode()
    spec = {**HELLO, "require": ["ada"], "avoid": [STRANGER, "", ADA]}
    told = await call(app_of(node), "POST", f"/api/v1/tasks{query}", spec)
    assert (told.status, told.json()["code"]) == (400, "bad_spec")
    lines = told.json()["detail"].splitlines()
    assert lines[0] == f"require: 'ada' is no peer id: the machine of that name is {ADA}"
    assert (
        lines[1] == "avoid: '' is no peer id: swarmnode peer ls -o json shows those of the machines"
    )
    assert len(lines) == 2
    assert node.market.buyer.views == {}


@simulated
async def test_a_task_of_before_that_requires_a_name_is_retried_as_it_was() -> None:
    node = FakeNode()
    before = await node.market.buyer.submit(TaskSpec(("true",), require=(PeerId("bravo"),)))
    node.market.buyer.finish(before)
    told = await call(app_of(node), "POST", f"/api/v1/tasks/{before}/retry")
    assert told.status == 201
    assert node.market.buyer.task(TaskId("t2")).record.spec.require == ("bravo",)


@simulated
async def test_explain_has_bids_attempts_and_the_machines_not_asked() -> None:
    node, app = await with_hello()
    node.market.buyer.start(TaskId("t1"))
    found = (await call(app, "GET", "/api/v1/tasks/t1/explain")).json()
    assert found["rounds"][0]["unfit"] == [{"peer": "12D3cy", "reason": "no GPU"}]
    assert (found["provider"], found["history"][0]["provider"]) == (ADA, ADA)


@simulated
async def test_wait_answers_when_the_task_ends() -> None:
    node, app = await with_hello()
    waited = Answered()
    async with trio.open_nursery() as nursery:
        path = "/api/v1/tasks/t1/wait?timeout_s=60"
        nursery.start_soon(lambda: call(app, "GET", path, answered=waited))
        await trio.sleep(1.0)
        assert waited.status == 0
        outcome = Outcome(
            "failed", 3, "exit", "no luck", (StoredFile("out.txt", 5, "swarm:x"),),
            Usage(10, 5, 1 << 20, 7, 5), ("cpu",),
        )  # fmt: skip
        node.market.buyer.finish(TaskId("t1"), outcome, TaskState.FAILED)
    found = waited.json()
    assert (found["state"], found["exit_code"], found["reason"]) == ("failed", 3, "exit")
    assert found["outputs"] == [{"name": "out.txt", "size": 5, "cap": "swarm:x", "tree": False}]
    usage = {"wall_ms": 10, "cpu_ms": 5, "memory_peak_bytes": 1 << 20}
    assert found["usage"] == {**usage, "down_bytes": 7, "up_bytes": 5}
    assert found["not_enforced"] == ["cpu"]


@simulated
async def test_wait_answers_with_the_state_when_its_time_is_over() -> None:
    _, app = await with_hello()
    began_s = trio.current_time()
    found = (await call(app, "POST", "/api/v1/tasks/t1/wait?timeout_s=5")).json()
    assert trio.current_time() - began_s == pytest.approx(5)
    assert found["state"] == "submitted"


@simulated
async def test_cancel_ends_a_task_and_may_be_repeated() -> None:
    _, app = await with_hello()
    for method, path in (("POST", "/api/v1/tasks/t1/cancel"), ("DELETE", "/api/v1/tasks/t1")):
        found = await call(app, method, path)
        assert (found.status, found.json()["state"]) == (200, "cancelled")


@simulated
async def test_a_signal_is_given_to_a_task_that_runs_and_refused_for_any_other() -> None:
    node, app = await with_hello()
    path = "/api/v1/tasks/t1/signal"
    given = await call(app, "POST", path, {"signal": "USR1"})
    assert (given.status, given.json()) == (200, {"task": "t1", "signal": "USR1"})
    assert node.market.buyer.signals == [(TaskId("t1"), JobSignal.USR1)]
    wrong = await call(app, "POST", path, {"signal": "KILL"})
    assert (wrong.status, wrong.json()["code"]) == (400, "bad_request")
    await call(app, "POST", "/api/v1/tasks/t1/cancel")
    late = await call(app, "POST", path, {"signal": "INT"})
    assert (late.status, late.json()["code"]) == (409, "task_not_running")


@simulated
async def test_logs_are_read_from_an_offset() -> None:
    node, app = await with_hello()
    node.market.buyer.prints(TaskId("t1"), "hello world\n")
    node.market.buyer.prints(TaskId("t1"), "oh\n", "stderr")
    whole = await call(app, "GET", "/api/v1/tasks/t1/logs")
    assert bytes(whole.body) == b"hello world\n"
    part = await call(app, "GET", "/api/v1/tasks/t1/logs?offset=6&stream=stdout")
    assert bytes(part.body) == b"world\n"
    errors = await call(app, "GET", "/api/v1/tasks/t1/logs?stream=stderr")
    assert bytes(errors.body) == b"oh\n"


@simulated
async def test_followed_logs_come_as_they_are_printed_and_end_with_the_task() -> None:
    node, app = await with_hello()
    read = Answered()
    async with trio.open_nursery() as nursery:
        path = "/api/v1/tasks/t1/logs?follow=1"
        nursery.start_soon(lambda: call(app, "GET", path, answered=read))
        node.market.buyer.prints(TaskId("t1"), "one\n")
        await read.until(b"one\n")
        node.market.buyer.prints(TaskId("t1"), "two\n")
        await read.until(b"two\n")
        node.market.buyer.finish(TaskId("t1"))
    assert bytes(read.body) == b"one\ntwo\n"


@simulated
async def test_a_reader_that_hangs_up_is_not_read_for_any_more() -> None:
    node, app = await with_hello()
    read = Answered()
    async with trio.open_nursery() as nursery:
        path = "/api/v1/tasks/t1/logs?follow=1"
        nursery.start_soon(lambda: call(app, "GET", path, answered=read))
        node.market.buyer.prints(TaskId("t1"), "one\n")
        await read.until(b"one\n")
        assert node.market.buyer.reading == 1
        nursery.cancel_scope.cancel()
    assert node.market.buyer.reading == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/tasks/nope", 404, "task_unknown"),
        ("GET", "/api/v1/tasks/nope/wait", 404, "task_unknown"),
        ("GET", "/api/v1/tasks/nope/logs?follow=1", 404, "task_unknown"),
        ("GET", "/api/v1/tasks/nope/explain", 404, "task_unknown"),
        ("DELETE", "/api/v1/tasks/nope", 404, "task_unknown"),
        ("GET", "/api/v1/tasks/t1/logs?stream=stdin", 400, "bad_request"),
        ("GET", "/api/v1/tasks/t1/logs?offset=-1", 400, "bad_request"),
        ("GET", "/api/v1/tasks/t1/logs?follow=maybe", 400, "bad_request"),
        ("GET", "/api/v1/tasks/t1/wait?timeout_s=nan", 400, "bad_request"),
        ("GET", "/api/v1/nothing", 404, "no_such_path"),
        ("PUT", "/api/v1/tasks", 405, "method"),
    ],
)
def test_wrong_requests_are_problems(method: str, path: str, status: int, code: str) -> None:
    @simulated
    async def problem() -> None:
        _, app = await with_hello()
        answer = await call(app, method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status, answer.json()["code"]) == (status, code)

    problem()


ELSEWHERE = TaskId("a234567a234567aa")


def submitted_elsewhere(node: FakeNode) -> None:
    spec = TaskSpec(("sleep", "1000"))
    record = TaskRecord(ELSEWHERE, spec, 1000, state=TaskState.RUNNING, submitter=BOB)
    node.market.own_machines.elsewhere.others[ELSEWHERE] = TaskView(record)


@simulated
async def test_a_task_of_another_machine_of_ours_is_shown_and_cancelled() -> None:
    node = FakeNode()
    submitted_elsewhere(node)
    app, path = app_of(node), f"/api/v1/tasks/{ELSEWHERE}"
    assert (await call(app, "GET", path)).json()["state"] == "running"
    log = await call(app, "GET", f"{path}/logs?stream=stderr")
    assert bytes(log.body) == f"stderr of {ELSEWHERE}".encode()
    for _ in range(2):  # twice is no harm
        told = await call(app, "POST", f"{path}/cancel")
        assert (told.status, told.json()["state"]) == (200, "cancelled")
    assert (await call(app, "GET", f"{path}/wait")).json()["state"] == "cancelled"


@simulated
async def test_a_task_of_another_machine_of_ours_is_removed_there_or_said_to_be_there() -> None:
    node = FakeNode()
    submitted_elsewhere(node)
    app, path = app_of(node), f"/api/v1/tasks/{ELSEWHERE}"
    assert (await call(app, "POST", f"{path}/forget")).json()["code"] == "task_not_ended"
    await node.market.own_machines.elsewhere.find(ELSEWHERE, cancel=True)
    told, others = (
        await call(app, "POST", f"{path}/forget"),
        dict(node.market.own_machines.elsewhere.others),
    )
    assert (told.status, told.json()["code"]) == (503, "task_unreachable")
    assert "is kept at 12D3bob, which did not remove it: remove it there" in told.json()["detail"]
    submitted_elsewhere(node)
    await node.market.own_machines.elsewhere.find(ELSEWHERE, cancel=True)
    node.market.own_machines.hand_over.removed = RemovedElsewhere((BOB,), (ADA,))
    told = await call(app, "POST", f"{path}/forget")
    assert told.json() == {
        "task": ELSEWHERE,
        "objects": 0,
        "note": "it is on the list of ada still: remove it there, too",
    }
    assert not others, "it was asked for there"
    assert (await call(app, "POST", f"{path}/forget")).json()["code"] == "task_unknown"


@simulated
async def test_what_holds_the_log_of_a_removed_task_is_freed_and_counted() -> None:
    node, app = await with_hello()
    node.market.buyer.finish(TaskId("t1"))
    node.estate.logs[TaskId("t1")] = 2
    assert (await call(app, "POST", "/api/v1/tasks/t1/forget")).json()["objects"] == 2


@simulated
async def test_the_environment_that_a_removed_task_has_built_stays_while_it_is_listed() -> None:
    async def once() -> AsyncIterator[bytes]:
        yield b"a tree"

    node, app = await with_hello()
    put = await node.objects.put(once())
    left = (StoredFile("env", 6, text_of_cap(put.cap), tree=True),)
    node.market.buyer.finish(TaskId("t1"), Outcome("done", 0, "exit", outputs=left))
    node.environments.listed = frozenset({put.cap.address})
    assert (await call(app, "POST", "/api/v1/tasks/t1/forget")).json()["objects"] == 0
    assert [entry.cap.address for entry in node.objects.entries()] == [put.cap.address]


@simulated
async def test_a_task_that_went_on_elsewhere_is_found_by_its_name_and_its_place_is_named() -> None:
    node = FakeNode()
    submitted_elsewhere(node)
    app = app_of(node)
    assert (await call(app, "GET", "/api/v1/tasks/long%20one")).status == 404
    others = node.market.own_machines.elsewhere.others
    spec = TaskSpec(("sleep", "9"), name="long")
    record = msgspec.structs.replace(others[ELSEWHERE].record, spec=spec)
    others[ELSEWHERE] = TaskView(record)
    told = (await call(app, "GET", "/api/v1/tasks/long")).json()
    assert (told["task"], told["owner"]) == (ELSEWHERE, BOB)
    told = await call(app, "GET", f"/api/v1/tasks/{ELSEWHERE}/explain")
    assert f"{ELSEWHERE} goes on at 12D3bob: ask for that there" in told.json()["detail"]
    twin = TaskId("b" * 16)
    others[twin] = TaskView(msgspec.structs.replace(record, task=twin))
    told = await call(app, "GET", "/api/v1/tasks/long")
    assert (told.status, told.json()["code"]) == (409, "task_ambiguous")
    assert f"{ELSEWHERE}, {twin}" in told.json()["detail"]


@simulated
async def test_a_task_of_another_machine_of_ours_is_submitted_again_here_once_it_has_ended() -> (
    None
):
    node = FakeNode()
    submitted_elsewhere(node)
    app, path = app_of(node), f"/api/v1/tasks/{ELSEWHERE}"
    assert (await call(app, "POST", f"{path}/retry")).json()["code"] == "task_not_ended"
    await call(app, "POST", f"{path}/cancel")
    told = (await call(app, "POST", f"{path}/retry")).json()
    assert told["of"] == ELSEWHERE
    assert node.market.buyer.task(told["task"]).record.spec.run == ("sleep", "1000")


@simulated
async def test_waiting_for_a_task_of_another_machine_ends_with_it_or_with_its_time() -> None:
    node = FakeNode()
    submitted_elsewhere(node)
    app, path = app_of(node), f"/api/v1/tasks/{ELSEWHERE}/wait"
    assert (await call(app, "GET", f"{path}?timeout_s=5")).json()["state"] == "running"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_later, node)
        assert (await call(app, "GET", f"{path}?timeout_s=60")).json()["state"] == "cancelled"


async def _cancel_later(node: FakeNode) -> None:
    await trio.sleep(7)
    await node.market.own_machines.elsewhere.find(ELSEWHERE, cancel=True)


@simulated
async def test_one_who_was_let_in_reaches_no_task_of_the_owners_other_machines() -> None:
    node = FakeNode()
    submitted_elsewhere(node)
    app = app_of(node)

    async def as_bob(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await app({**scope, KEY: Principal("bob", "person")}, receive, send)

    for method, tail in (("GET", ""), ("POST", "/cancel")):
        told = await call(as_bob, method, f"/api/v1/tasks/{ELSEWHERE}{tail}")
        assert (told.status, told.json()["code"]) == (404, "task_unknown")
    told = await call(as_bob, "POST", f"/api/v1/tasks/{ELSEWHERE}/cancel?as_lab=1")
    assert (told.status, told.json()["code"]) == (403, "not_allowed")
    path = f"/api/v1/tasks/{ELSEWHERE}/cancel?as_lab=1&reason=by%20mistake"
    assert (await call(app, "POST", path)).json()["state"] == "cancelled"
    assert node.cancelled_as_lab == [(ELSEWHERE, "by mistake")]
