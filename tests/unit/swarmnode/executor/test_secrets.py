"""Secrets of jobs in real sandboxes: theirs alone, in memory alone, for as long as they run."""

import json
import os
from pathlib import Path

import pytest
import trio

from swarmnode.executor.port import Executor, JobId, JobSecrets, JobSpec
from tests.job_lab import PYTHON, SH, needs_bwrap, run_job, running_executor, spec

pytestmark = needs_bwrap

VALUE = b"s3cret-value-of-more-than-eight-bytes"
BINARY = bytes(range(256)) * 250 + b"tail-of-a-binary-file"
GIVEN = JobSecrets({"TOKEN": VALUE, "ODD": b"\xff\xfe no text\n"}, {"hf": VALUE, "key": BINARY})
LOOKS = """
import json, os, stat
seen = {name: os.environb[name.encode()].hex() for name in ("TOKEN", "ODD")}
for name in os.listdir("/run/secrets"):
    path = "/run/secrets/" + name
    data, found = open(path, "rb").read(), os.stat(path)
    seen[path] = [hash(data) and data[-21:].hex(), len(data), stat.S_IMODE(found.st_mode)]
    seen[path].append(found.st_uid == os.getuid())
try:
    open("/run/secrets/more", "w")
except OSError as error:
    seen["more"] = error.strerror
seen["fds"] = sorted(os.listdir("/proc/self/fd"))
mounts = [line.split() for line in open("/proc/mounts")]
seen["kind"] = [words[2] for words in mounts if words[1] == "/run/secrets"]
print(json.dumps(seen))
"""
SPIES = """
import os
found = []
for folder, _, names in os.walk("/proc"):
    for name in names:
        if name in ("environ", "cmdline", "maps"):
            try:
                found.append(open(os.path.join(folder, name), "rb").read())
            except OSError:
                pass
needle = b"-".join([b"s3cret", b"value"])
print(needle in b"".join(found), os.path.exists("/run/secrets"), len(found) > 3)
"""


async def begin(executor: Executor, what: JobSpec, secrets: JobSecrets | None) -> None:
    await executor.prepare(what.job)
    await executor.start(what, secrets)


async def said(executor: Executor, job: str) -> str:
    with trio.fail_after(20):
        await executor.log_grew(JobId(job), "stdout", 0)
        return (await executor.read_log(JobId(job), "stdout", 0, 1 << 16)).decode()


def on_disk(folder: Path) -> bytes:
    files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 1 << 24)
    return b"".join(path.read_bytes() for path in files)


def held_by(pid: int) -> list[str]:
    return [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]


def shown_to_all() -> bytes:
    shown = []
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            try:
                shown.append(Path(f"/proc/{pid}/cmdline").read_bytes())
            except OSError:
                continue
    return b"".join(shown)


async def test_a_job_has_its_secrets_as_variables_and_files_and_nothing_else_of_them(
    tmp_path: Path,
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await begin(executor, spec("t.1", PYTHON, "-c", LOOKS), GIVEN)
        seen = json.loads(await said(executor, "t.1"))
        await executor.wait(JobId("t.1"))
    assert (seen["TOKEN"], seen["ODD"]) == (VALUE.hex(), b"\xff\xfe no text\n".hex())
    assert seen["/run/secrets/hf"] == [VALUE[-21:].hex(), len(VALUE), 0o400, True]
    assert seen["/run/secrets/key"] == [BINARY[-21:].hex(), len(BINARY), 0o400, True]
    assert (seen["more"], seen["kind"]) == ("Read-only file system", ["tmpfs"])
    assert seen["fds"] == ["0", "1", "2", "3"], "3 is the listing itself"


async def test_what_a_job_knows_lies_in_no_file_and_no_argument(tmp_path: Path) -> None:
    script = "echo here; while :; do sleep 0.1; done"
    async with running_executor(tmp_path / "x") as executor:
        await begin(executor, spec("t.1", SH, "-c", script), GIVEN)
        await said(executor, "t.1")
        for needle in (VALUE, BINARY[-21:]):
            assert needle not in on_disk(tmp_path)
            assert needle not in shown_to_all()
        await executor.stop(JobId("t.1"), 0)
        assert VALUE not in on_disk(tmp_path)


async def test_a_secret_wins_over_what_its_environment_sets(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        tells = spec(
            "t.1", SH, "-c", 'echo "$OTHER $TOKEN"', env={"TOKEN": "a default", "OTHER": "x"}
        )
        await begin(executor, tells, GIVEN)
        assert await said(executor, "t.1") == f"x {VALUE.decode()}\n"


async def test_another_job_sees_none_of_it(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await begin(executor, spec("t.1", SH, "-c", "echo here; sleep 60"), GIVEN)
        await said(executor, "t.1")
        _, out, err = await run_job(executor, spec("t.2", PYTHON, "-c", SPIES))
        await executor.stop(JobId("t.1"), 0)
    assert out.split() == ["False", "False", "True"], err


async def test_its_shim_keeps_none_of_it(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await begin(executor, spec("t.1", SH, "-c", "echo here; sleep 60"), GIVEN)
        await said(executor, "t.1")
        state = executor._known(JobId("t.1")).folder.read_state()
        assert state is not None
        held = held_by(state.shim)
        await executor.stop(JobId("t.1"), 0)
    assert not [name for name in held if "memfd" in name]


@pytest.mark.parametrize("secrets", [None, JobSecrets({}, {})])
async def test_a_job_without_any_starts_as_ever(tmp_path: Path, secrets: JobSecrets | None) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await begin(executor, spec("t.1", SH, "-c", "echo hi"), secrets)
        ended = await executor.wait(JobId("t.1"))
        assert (ended.code, await said(executor, "t.1")) == (0, "hi\n")
