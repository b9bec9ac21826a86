"""Several users of one machine over one daemon, on its real sockets."""

import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from click import Context

from p2p.identity.issue import Names
from swarmnode.cli import neighbours
from swarmnode.cli.client import ApiError, Client
from swarmnode.cli.main import cli, run
from swarmnode.home import enrol
from swarmnode.home.folders import Home
from tests.integration.test_operator import DAEMON, NOW_MS, environ

ANN, BEN, CY = 1_999_999_901, 1_999_999_902, 1_999_999_903

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A daemon with a shared socket, in a folder that all users may enter."""
    folder = Path(tempfile.mkdtemp(prefix="sp"))
    folder.chmod(0o755)
    home = Home(folder / "n", folder / "n", folder / "n/cache", folder / "n/run")
    names = Names("box", "root", "lab", "", ("compute", "storage"))
    enrol.found_network(home, names, os.urandom, NOW_MS)
    given = environ(
        home, SWARM_API__SHARED=str(folder / "api.sock"), SWARM_STORAGE__MIN_FREE_GIB="0"
    )
    with subprocess.Popen(DAEMON, env=given, stderr=subprocess.DEVNULL) as daemon:
        try:
            Client(home.api_socket).wait_ready(30)
            for name, uid in (("ann", ANN), ("ben", BEN)):
                wanted = {"name": name, "uid": uid}
                Client(home.api_socket).call("POST", "/api/v1/people", wanted)
                (folder / str(uid)).mkdir()
                (folder / str(uid)).chmod(0o700)
                os.chown(folder / str(uid), uid, uid)
            yield folder
        finally:
            daemon.terminate()
            daemon.wait(20)
            shutil.rmtree(folder)


def as_user(uid: int, act: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What `act` returns in a process of that user."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(write, json.dumps(act()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        data = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(data)


def asked(place: Path, uid: int, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
    """The answer to a user's request, or (status, code) of the refusal."""

    def act() -> Any:  # noqa: ANN401
        try:
            return Client(place / "api.sock").call(method, path, body)
        except ApiError as error:
            return [error.status, error.code]

    return as_user(uid, act)


def typed(place: Path, uid: int, *words: str) -> tuple[int, str]:
    """Exit code and output of a command that a user types, who has no node of their own."""

    def act() -> list[Any]:
        said = io.StringIO()
        neighbours.SHARED_SOCKET = place / "api.sock"  # type: ignore[misc]
        os.environ.pop("SWARM_API", None)
        os.environ["SWARM_HOME"] = str(place / str(uid))
        with redirect_stdout(said), redirect_stderr(said):
            code = run(list(words))
        return [code, said.getvalue()]

    code, text = as_user(uid, act)
    return code, text


def test_each_has_their_own_tasks_and_objects(place: Path) -> None:
    task = asked(place, ANN, "POST", "/api/v1/tasks", {"run": ["true"]})["task"]
    assert [one["task"] for one in asked(place, ANN, "GET", "/api/v1/tasks")] == [task]
    for other in (BEN, 0):
        assert task not in json.dumps(asked(place, other, "GET", "/api/v1/tasks"))
        refused = asked(place, other, "POST", f"/api/v1/tasks/{task}/cancel")
        assert refused == [404, "task_unknown"]
    code, text = typed(place, BEN, "task", "ls", "-o", "json")
    assert (code, json.loads(text)["items"]) == (0, [])


def test_a_person_steers_nothing_and_takes_no_place_of_the_owner(place: Path) -> None:
    for method, path in (
        ("POST", "/api/v1/node/pause"),
        ("POST", "/api/v1/join"),
        ("POST", "/api/v1/members/remove"),
        ("POST", "/api/v1/members/phrase"),
        ("POST", "/api/v1/people"),
        ("GET", "/api/v1/people"),
        ("DELETE", "/api/v1/people/ann"),
    ):
        assert asked(place, BEN, method, path, {}) == [403, "not_allowed"], path
    spec = {"run": ["true"], "class": "owner"}
    assert asked(place, BEN, "POST", "/api/v1/tasks", spec) == [400, "bad_spec"]
    assert asked(place, BEN, "POST", "/api/v1/tokens", {"scope": "admin"}) == [403, "not_allowed"]


def test_a_person_does_not_invite_and_is_led_to_no_second_node(place: Path) -> None:
    for command in ("invite", "run", "api"):  # other users may not be able to load them
        cli.get_command(Context(cli), command)
    code, text = typed(place, BEN, "invite")
    assert code == 4
    assert "only its owner invites: ask root" in text
    code, text = typed(place, BEN, "run")
    assert code == 4
    assert "the node of root serves you" in text
    code, text = typed(place, BEN, "api", "token")
    assert code == 4
    assert "swarmnode token new" in text
    assert not (place / str(BEN) / "keys" / "machine.key").exists()


def test_who_is_not_let_in_is_told_whom_to_ask_for_what(place: Path) -> None:
    code, text = typed(place, CY, "task", "ls")
    assert code == 4
    for path in ("/api/v1/status", "/api/v1/peers", "/api/v1/me", "/metrics", "/healthz"):
        assert asked(place, CY, "GET", path) == [403, "not_let_in"], path
    assert f"ask root, whose node this is, for `swarmnode person add NAME --uid {CY}`" in text


def test_a_token_works_at_once_acts_as_its_person_and_ends_at_once(place: Path) -> None:
    code, text = typed(place, BEN, "token", "new", "--scope", "submit", "--name", "script")
    assert code == 0
    assert text.startswith("swarm-submit-")
    assert "note: this node takes no tokens yet: its owner sets api.tcp" in text
    code, text = typed(place, BEN, "token", "ls", "-o", "json")
    assert [one["name"] for one in json.loads(text)["items"]] == ["script"]
    assert "script" not in json.dumps(asked(place, ANN, "GET", "/api/v1/tokens"))
    assert typed(place, ANN, "token", "rm", "script")[0] == 5
    assert typed(place, BEN, "token", "rm", "script")[0] == 0
    assert asked(place, BEN, "GET", "/api/v1/tokens") == []


def test_who_is_let_in_no_more_is_out_and_finds_their_things_when_back(place: Path) -> None:
    owner = Client(place / "n/run/api.sock")
    task = asked(place, BEN, "POST", "/api/v1/tasks", {"run": ["true"]})["task"]
    owner.call("DELETE", "/api/v1/people/ben")
    assert asked(place, BEN, "GET", "/api/v1/tasks") == [403, "not_let_in"]
    owner.call("POST", "/api/v1/people", {"name": "ben", "uid": BEN})
    assert [one["task"] for one in asked(place, BEN, "GET", "/api/v1/tasks")] == [task]


def test_without_a_shared_socket_the_node_s_owner_is_named(place: Path) -> None:
    def act() -> str:
        return neighbours.whom_to_ask()

    words = as_user(CY, act)
    assert "root" in words
    assert f"`swarmnode person add NAME --uid {CY}`" in words
