"""Environments in real sandboxes: built from a lock, brought once, seen at /env by every task."""

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from blake3 import blake3

from swarmnode.errors import (
    EnvironmentDamagedError,
    ExecutorUnavailableError,
    OutputUnsafeError,
    TreeRefusedError,
)
from swarmnode.executor.environments import catalogue
from swarmnode.executor.environments.building import Building
from swarmnode.executor.environments.store import EnvironmentStore
from swarmnode.executor.port import JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor
from swarmnode.tasks.environments.naming import ALLOW_BUILD, COMMAND, UV
from tests.job_lab import run_job, running_executor
from tests.wheel_lab import make_sdist, make_wheel, pinned

VERSION = "{}.{}".format(*sys.version_info[:2])
GREET = {"greet/__init__.py": "def main():\n    print('hello from', __file__)\n"}


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that this machine's settings name."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "greet", "1.0", GREET, script="greet=greet:main")
    for key in list(os.environ):
        if key.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    for path in (tmp_path, *tmp_path.parents):  # tasks of root's nodes are other users
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    return folder


def job(name: str, environment: str, *argv: str) -> JobSpec:
    return JobSpec(
        job=JobId(name),
        argv=argv,
        env={},
        cpu_millis=1000,
        memory_bytes=1 << 30,
        pids_max=256,
        disk_bytes=1 << 30,
        wall_s=60,
        environment=environment,
    )


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def build(executor: ProcessExecutor, name: str, lock: str, *words: str) -> tuple[int, str]:
    """Its exit code and what it said."""
    what = job(name, f"build:{VERSION}", *COMMAND, *words, UV)
    await executor.prepare(what.job)
    await executor.put_file(what.job, "env/.lock", once(lock.encode()))
    ended, _, said = await run_job(executor, what)
    return ended.code, said


async def packed(executor: ProcessExecutor, name: str) -> bytes:
    looked = await executor.scan(JobId(name), (b"env",))
    pieces = [piece async for piece in executor.pack(JobId(name), (b"env",), looked.found)]
    return b"".join(pieces)


async def brought(executor: ProcessExecutor, wheels: Path) -> bytes:
    """An environment with `greet`, built and here as @one; its bytes."""
    code, said = await build(executor, "b.1", pinned(wheels / "greet-1.0-py3-none-any.whl"))
    assert (code, "built: 1 package" in said) == (0, True), said
    tree = await packed(executor, "b.1")
    await executor.bringing.bring("@one", blake3(tree).digest(), once(tree))
    return tree


async def test_an_environment_is_used_without_the_machines_python(
    tmp_path: Path, wheels: Path
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        first = await brought(executor, wheels)
        assert "@one" in executor.environments()
        script = "import sys, greet; print(sys.executable, sys.prefix); greet.main()"
        ended, out, err = await run_job(executor, job("u.1", "@one", "python", "-c", script))
        assert ended.code == 0, err
        assert out.startswith("/env/venv/bin/python /env/venv\nhello from /env/venv/lib/")

        ended, out, err = await run_job(executor, job("u.2", "@one", "greet"))
        assert (ended.code, out.startswith("hello from /env/")) == (0, True), err

        ended, _, err = await run_job(executor, job("u.3", "@one", "python", "-c", TOUCHY))
        assert ended.code == 0, err

        ended, out, err = await run_job(executor, job("p.1", "@one", "sh", "-c", PIP))
        assert (ended.code, out) == (1, "greet==1.0\ngreet==1.0\n"), err
        assert "name the package in the file that it is made from" in err

        # Elsewhere, with another C library: then nothing of that machine's /usr is to be seen.
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(catalogue, "_LIBC_FOLDERS", ())
        with monkeypatch.context():
            ended, out, err = await run_job(executor, job("u.4", "@one", "sh", "-c", BARE))
        monkeypatch.undo()
        assert (ended.code, out) == (0, "3\nno usr/lib\n"), err

        code, said = await build(executor, "b.2", pinned(wheels / "greet-1.0-py3-none-any.whl"))
        assert code == 0, said
        assert await packed(executor, "b.2") == first, "two builds of one lock are one object"


TOUCHY = """
import os, greet
for path in (greet.__file__, '/env/new', '/env/venv/bin/python'):
    for act in (lambda: open(path, 'a'), lambda: os.chmod(path, 0o777), lambda: os.unlink(path)):
        try:
            act()
        except OSError:
            continue
        raise SystemExit(f'{path} was changed')
"""
PIP = "pip list && pip3 freeze && pip install more"
BARE = """
python -c 'import ssl, sqlite3, ctypes, lzma, greet; print(3)'
test -e /usr/lib || echo no usr/lib
"""


async def test_what_is_not_as_locked_is_not_installed(tmp_path: Path, wheels: Path) -> None:
    lock = pinned(wheels / "greet-1.0-py3-none-any.whl")
    make_wheel(wheels, "greet", "1.0", {"greet/__init__.py": "evil = 1\n"})
    async with running_executor(tmp_path / "x") as executor:
        code, said = await build(executor, "b.1", lock)
        assert code == 65
        assert "ash" in said  # of a hash that does not match


EVIL = """
import os, sys
found = []
for path in ('/root', '/home', '/etc/shadow', os.path.expanduser('~/.netrc'), '/env/../root'):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).read()
    except OSError:
        continue
    found.append(path)
secrets = [key for key, value in os.environ.items() if 'hunter2' in key + value]
try:
    import socket
    socket.create_connection(('127.0.0.1', int(os.environ.get('PORT', '1'))), 2)
    found.append('network')
except OSError:
    pass
with open('/env/seen', 'w') as file:
    file.write(repr((found, secrets)))
"""


async def test_a_build_script_sees_no_secrets_no_host_and_no_network(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_sdist(wheels, "evil", "1.0", EVIL)
    monkeypatch.setenv("UV_INDEX", "https://me:hunter2@index.example/simple")
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    async with running_executor(tmp_path / "x") as executor:
        code, said = await build(executor, "b.1", pinned(source))
        assert code == 65, "a source distribution is not built unless it is asked for"
        code, said = await build(executor, "b.2", pinned(source), ALLOW_BUILD)
        assert code == 0, said
        pieces = [piece async for piece in executor.read_file(JobId("b.2"), "env/seen")]
        assert b"".join(pieces) == b"([], [])"


async def test_a_build_whose_folder_is_a_link_sees_nothing_of_the_machine(
    tmp_path: Path, wheels: Path
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        what = job("b.1", f"build:{VERSION}", "ls", "/env")
        await executor.prepare(what.job)
        work = next(path for path in (tmp_path / "x").rglob("work") if path.is_dir())
        (work / "env").symlink_to("/etc")  # as a folder that was given as `.` could have it
        with pytest.raises(OutputUnsafeError):
            await executor.start(what)


async def test_two_that_want_it_at_once_bring_it_once(tmp_path: Path) -> None:
    tree = _tree_of(tmp_path, {"py/x": "x"})
    read = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        await trio.lowlevel.checkpoint()
        yield tree

    async with running_executor(tmp_path / "x") as executor, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(executor.bringing.bring, "@one", blake3(tree).digest(), counted())
    assert read == 1


async def test_other_bytes_than_were_signed_are_not_kept(tmp_path: Path) -> None:
    tree = _tree_of(tmp_path, {"py/x": "x"})
    async with running_executor(tmp_path / "x") as executor:
        with pytest.raises(EnvironmentDamagedError):
            await executor.bringing.bring("@one", blake3(b"other").digest(), once(tree))
        assert not executor.bringing.has("@one")
        assert not list((tmp_path / "x/environments/trees").iterdir())


def test_what_a_dead_node_had_begun_is_gone_and_what_was_whole_stays(tmp_path: Path) -> None:
    store = _store(tmp_path)
    _fill(store, "whole", {"a": "1"})
    (store.begin("half") / "a").write_text("1")
    (tmp_path / "s/trees/unmarked").mkdir()
    again = _store(tmp_path)
    assert again.names() == ("whole",)
    assert [path.name for path in (tmp_path / "s/trees").iterdir()] == ["whole"]


def test_equal_files_of_two_environments_are_one_on_the_disk(tmp_path: Path) -> None:
    store = _store(tmp_path)
    _fill(store, "one", {"a": "same", "b": "1"})
    _fill(store, "two", {"c": "same"})
    trees = tmp_path / "s/trees"
    assert (trees / "one/a").samefile(trees / "two/c")
    store.remove("one")
    assert (trees / "two/c").read_text() == "same"
    assert len(list((tmp_path / "s/files").glob("*/*"))) == 1


def test_a_file_with_several_names_keeps_them(tmp_path: Path) -> None:
    store = _store(tmp_path)
    part = store.begin("one")
    for name, other in (("a", "b"), ("c", "d")):  # alike, so one file in the end
        (part / name).write_text("same")
        os.link(part / name, part / other)
    store.finish("one", ())
    tree = tmp_path / "s/trees/one"
    assert sorted(os.listdir(tree)) == ["a", "b", "c", "d"]
    assert all((tree / name).samefile(tree / "a") for name in "bcd")


def test_the_ones_used_least_recently_go_and_never_one_in_use(tmp_path: Path) -> None:
    store = _store(tmp_path, bytes_max=25)
    for number, name in enumerate(("old", "used", "new")):
        _fill(store, name, {"a": f"{name:.<8}"}, used=("used",))
        os.utime(tmp_path / "s/marks" / name, (number, number))
    store.use("old")
    _fill(store, "newest", {"a": "12345678"}, used=("used",))
    assert store.names() == ("newest", "old", "used")


def test_one_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    store = _store(tmp_path, bytes_max=15)
    _fill(store, "used", {"a": "12345678"})
    with pytest.raises(ExecutorUnavailableError, match="in use"):
        _fill(store, "late", {"b": "87654321"}, used=("used",))
    store.drop_part("late")
    assert len(list((tmp_path / "s/files").glob("*/*"))) == 1


def test_no_environment_gets_a_file_that_was_not_on_the_disk_when_the_power_went(
    tmp_path: Path,
) -> None:
    store = _store(tmp_path)
    _fill(store, "one", {"a": "same"})
    (tmp_path / "s/marks/one").unlink()
    _remove_tree(tmp_path / "s/trees/one")  # it had not come so far
    kept = next((tmp_path / "s/files").glob("*/*"))
    kept.chmod(0o644)
    kept.write_text("")
    _fill(_store(tmp_path), "two", {"b": "same"})
    assert (tmp_path / "s/trees/two/b").read_text() == "same"


def test_two_that_come_at_once_fill_no_disk_together(tmp_path: Path) -> None:
    store = _store(tmp_path, bytes_max=1 << 60)
    most = shutil.disk_usage(tmp_path).free * 6 // 10
    store.check_room("one", most)
    with pytest.raises(ExecutorUnavailableError, match="are free"):
        store.check_room("two", most)
    store.drop_part("one")
    store.check_room("two", most)


async def test_who_brings_what_has_no_room_leaves_no_trace(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        for number in range(3):
            with pytest.raises(TreeRefusedError):
                await executor.bringing.bring(f"@{number}", b"", once(b"no folder"))
        assert not executor.bringing._coming


def test_a_build_is_given_no_password_of_an_index_however_it_is_named(
    wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = "corp=https://me:hush@pypi.corp.example/simple https://me:hush@b.example/s"
    monkeypatch.setenv("UV_INDEX", f"{places} corp=https://c.example/simple")
    building = Building()
    building.look()
    told = building.variables()
    assert told["UV_INDEX"] == "corp=https://c.example/simple"
    assert "hush" not in str(told)


def test_a_file_of_two_names_is_shared_under_both(tmp_path: Path) -> None:
    store = _store(tmp_path)
    part = store.begin("one")
    for first, second in (("a", "b"), ("c", "d")):
        (part / first).write_text(first)
        (part / second).hardlink_to(part / first)
    store.finish("one", ())
    assert sorted(path.name for path in (tmp_path / "s/trees/one").iterdir()) == [*"abcd"]


def _remove_tree(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


async def test_what_was_brought_for_a_job_stays_until_that_is_forgotten(tmp_path: Path) -> None:
    trees = [_tree_of(tmp_path / name, {"a": name * 20}) for name in "xy"]
    digests = [blake3(tree).digest() for tree in trees]
    async with running_executor(tmp_path / "e", environments_bytes_max=30) as executor:
        await executor.prepare(JobId("w.1"))
        await executor.bringing.bring("@x", digests[0], once(trees[0]), "w.1")
        with pytest.raises(ExecutorUnavailableError, match="in use"):
            await executor.bringing.bring("@y", digests[1], once(trees[1]), "w.2")
        assert executor.bringing.has("@x"), "its inputs may take hours more"
        await executor.forget(JobId("w.1"))
        await executor.bringing.bring("@y", digests[1], once(trees[1]), "w.2")
        assert not executor.bringing.has("@x")


def _store(folder: Path, bytes_max: int = 1 << 20) -> EnvironmentStore:
    store = EnvironmentStore(folder / "s", bytes_max)
    store.open()
    return store


def _fill(
    store: EnvironmentStore, name: str, files: dict[str, str], used: tuple[str, ...] = ()
) -> None:
    part = store.begin(name)
    for path, text in files.items():
        (part / path).write_text(text)
    store.finish(name, used)


def _tree_of(folder: Path, files: dict[str, str]) -> bytes:
    from swarmnode.tree.pack import packed as pieces_of
    from swarmnode.tree.scan import entries_of, scan

    root = folder / "tree"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    found = scan(str(root)).found
    return b"".join(pieces_of(str(root), found, entries_of(found, ())))
