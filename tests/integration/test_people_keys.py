"""What rests at a shared daemon of a person opens with the key in that person's home alone."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2p.identity.issue import Names
from storage.engine.lmdb_tables import LmdbTables
from storage.engine.stored import stored
from storage.manifests.capability import PREFIX
from storage.objects.keyring import TABLE, KeyRow
from swarmnode.cli.client import ApiError, Client
from swarmnode.home import enrol
from swarmnode.home.folders import Home
from swarmnode.tasks.store import TASKS
from tests.integration.test_operator import DAEMON, NOW_MS, environ
from tests.integration.test_people import ANN, BEN, as_user, asked, typed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")


class Place:
    """A machine with one daemon, its owner root, and two more people with homes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "n", folder / "n", folder / "n/cache", folder / "n/run")
        names = Names("box", "root", "lab", "", ("compute", "storage"))
        enrol.found_network(self.home, names, os.urandom, NOW_MS)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.tcp = f"127.0.0.1:{free.getsockname()[1]}"
        owner = Client(self.home.api_socket)
        self.daemon = self.start()
        for name, uid in (("ann", ANN), ("ben", BEN)):
            owner.call("POST", "/api/v1/people", {"name": name, "uid": uid})
            own = folder / str(uid)
            own.mkdir(mode=0o700)
            os.chown(own, uid, uid)

    def start(self) -> subprocess.Popen[bytes]:
        given = environ(
            self.home,
            SWARM_API__SHARED=str(self.folder / "api.sock"),
            SWARM_API__TCP=self.tcp,
            SWARM_STORAGE__MIN_FREE_GIB="0",
        )
        file = self.home.state / "api-tokens"
        if not file.exists():
            file.touch(0o600)
        with open(self.folder / "log", "ab") as log:
            daemon = subprocess.Popen(DAEMON, env=given, stderr=log)
        Client(self.home.api_socket).wait_ready(30)
        return daemon

    def stop(self) -> None:
        self.daemon.send_signal(signal.SIGTERM)
        assert self.daemon.wait(20) == 0

    def ben(self, *words: str) -> str:
        """What a command of ben's says; it must succeed."""
        code, text = typed(self.folder, BEN, *words)
        assert code == 0, text
        return text

    def by_token(self, token: str, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        """The answer to a request over TCP, or (status, code) of the refusal."""
        try:
            return Client(Path(), f"http://{self.tcp}", token).call(method, path, body)
        except ApiError as error:
            return [error.status, error.code]

    def rests(self) -> dict[str, list[bytes]]:
        """All rows of keyring and tasks as they lie; the daemon is stopped."""
        found = {}
        for folder, table in ((self.home.store_tables, TABLE), (self.home.state_tables, TASKS)):
            tables = LmdbTables(folder)
            found[table] = [value for _, value in tables.scan(table)]
            tables.close()
        return found


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="sk"))
    folder.chmod(0o755)
    found = Place(folder)
    try:
        yield found
    finally:
        found.daemon.kill()
        found.daemon.wait(20)
        shutil.rmtree(folder)


def key_in(cap: str) -> bytes:
    text = cap.removeprefix(PREFIX).upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))[32:64]


def test_the_disk_of_the_node_reveals_no_capability_of_another_person(place: Place) -> None:
    task, caps = _a_day_of(place)
    kept = place.folder / str(BEN) / "keys/person.key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.stat().st_uid == BEN
    place.stop()
    rests = place.rests()
    assert {len(stored(KeyRow, row, "").key) for row in rests[TABLE] if b"ben" in row} == {92}
    for cap in caps:
        assert not any(key_in(cap) in row for row in rests[TABLE])
        assert not any(cap.encode() in row for row in rests[TASKS])
    everything = b"".join(
        file.read_bytes() for file in place.home.store_tables.iterdir() if file.is_file()
    )
    assert key_in(caps[0]) not in everything, "what a person puts is never written in clear"
    assert not any(b"hush-hush" in row for row in rests[TASKS])
    place.daemon = place.start()
    shown = json.loads(place.ben("task", "show", task, "-o", "json"))
    assert shown["outputs"][0]["cap"] in caps
    rows = json.loads(place.ben("obj", "ls", "-o", "json"))["items"]
    assert {one["cap"] for one in rows} == set(caps)


def _a_day_of(place: Place) -> tuple[str, list[str]]:
    """Ben stores a file and runs a task with it; the task, and every capability of it all."""
    file = place.folder / str(BEN) / "plan.txt"
    file.write_text("the plan")
    os.chown(file, BEN, BEN)
    place.ben("obj", "put", str(file), "-o", "json")
    task = json.loads(
        place.ben(
            "task", "submit", "--in", str(file), "--keep-inputs", "--set", "API_TOKEN=hush-hush",
            "--out", "out.txt", "--detach", "-o", "json", "--",
            "sh", "-c", "cat plan.txt plan.txt >out.txt",
        )
    )["task"]  # fmt: skip
    ended = asked(place.folder, BEN, "GET", f"/api/v1/tasks/{task}/wait?timeout_s=60")
    assert ended["state"] == "done", ended
    rows = json.loads(place.ben("obj", "ls", "-o", "json"))["items"]
    assert {one["kind"] for one in rows} >= {"output"}
    return task, [one["cap"] for one in rows]


def test_while_locked_tasks_run_and_are_stored_and_the_rest_says_what_to_do(place: Place) -> None:
    task, caps = _a_day_of(place)
    token = place.ben("token", "new", "--scope", "submit").strip()
    assert place.by_token(token, "GET", f"/api/v1/tasks/{task}")["outputs"][0]["cap"] in caps
    place.ben("lock")
    told = json.dumps(place.by_token(token, "GET", f"/api/v1/tasks/{task}"))
    assert "(locked)" in told
    assert not any(cap in told for cap in caps)
    assert place.by_token(token, "POST", f"/api/v1/tasks/{task}/retry") == [423, "locked"]
    place.stop()
    place.daemon = place.start()
    rows = place.by_token(token, "GET", "/api/v1/objects")
    assert {one["cap"] for one in rows} == {"(locked)"}
    wanted = {"cap": rows[0]["cap"]}
    assert place.by_token(token, "POST", "/api/v1/objects/read", wanted) == [423, "locked"]
    assert place.by_token(token, "POST", f"/api/v1/tasks/{task}/retry") == [423, "locked"]
    spec = {"run": ["sh", "-c", "echo more >out.txt"], "outputs": ["out.txt"]}
    later = place.by_token(token, "POST", "/api/v1/tasks", spec)["task"]
    ended = place.by_token(token, "GET", f"/api/v1/tasks/{later}/wait?timeout_s=60")
    assert ended["state"] == "done", ended
    assert len(place.by_token(token, "GET", "/api/v1/objects")) == len(rows) + 1
    assert (
        place.by_token(token, "POST", "/api/v1/me/key", {"secret": "00" * 32, "salt": ""})[0] == 403
    )
    assert json.loads(place.ben("unlock", "-o", "json"))["key"] == "unlocked"
    rows = place.by_token(token, "GET", "/api/v1/objects")
    assert {one["cap"] for one in rows} > set(caps)
    (new,) = {one["cap"] for one in rows} - set(caps)
    client = Client(Path(), f"http://{place.tcp}", token)
    assert b"".join(client.download("/api/v1/objects/read", {"cap": new})) == b"more\n"
    assert json.loads(place.ben("lock", "-o", "json"))["changed"]
    assert {one["cap"] for one in place.by_token(token, "GET", "/api/v1/objects")} == {"(locked)"}
    place.stop()
    assert not any(key_in(new) in row for row in place.rests()[TABLE])


def test_what_was_stored_before_is_sealed_by_the_first_command(place: Place) -> None:
    def put() -> str:
        client = Client(place.folder / "api.sock")
        cap: str = client.upload("/api/v1/objects?name=old", io.BytesIO(b"x"))["cap"]
        return cap

    cap = as_user(BEN, put)
    assert asked(place.folder, BEN, "GET", "/api/v1/me")["key"] == "none"
    assert json.loads(place.ben("obj", "ls", "-o", "json"))["items"][0]["cap"] == cap
    place.stop()
    assert not any(key_in(cap) in row for row in place.rests()[TABLE])


def test_a_lost_key_is_told_and_hinders_nothing_but_sealed_capabilities(place: Place) -> None:
    place.ben("obj", "ls")
    kept = place.folder / str(BEN) / "keys/person.key"
    kept.rename(kept.with_name("elsewhere"))
    assert place.ben("lock")
    code, text = typed(place.folder, BEN, "obj", "ls")
    assert code == 0
    assert f"your key {kept} is not here" in text
    assert "swarmnode unlock --new-key" in text
    assert "swarmnode unlock" in text
    assert typed(place.folder, BEN, "unlock")[0] == 1
    assert json.loads(place.ben("unlock", "--new-key", "-o", "json"))["key"] == "unlocked"
    kept.with_name("elsewhere").rename(kept)
    place.ben("lock")
    code, text = typed(place.folder, BEN, "unlock")
    assert code == 4
    assert "--new-key" in text


def test_a_new_key_loses_nothing_while_the_former_is_in_place(
    place: Place,
) -> None:
    place.ben("obj", "ls")

    def put() -> str:
        client = Client(place.folder / "api.sock")
        cap: str = client.upload("/api/v1/objects?name=kept", io.BytesIO(b"x"))["cap"]
        return cap

    cap = as_user(BEN, put)
    assert json.loads(place.ben("unlock", "--new-key", "-o", "json"))["key"] == "unlocked"
    assert json.loads(place.ben("obj", "ls", "-o", "json"))["items"][0]["cap"] == cap


def test_the_log_names_no_secret(place: Place) -> None:
    place.ben("obj", "ls")
    place.stop()
    secrets = [file.read_bytes() for file in (place.folder / str(BEN) / "keys").iterdir()]
    log = (place.folder / "log").read_bytes()
    assert not any(line in log for secret in secrets for line in secret.splitlines()[1:-1])
    assert b"/me/key" not in log
