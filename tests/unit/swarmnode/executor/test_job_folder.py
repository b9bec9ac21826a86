"""Small files of a job after a power cut: short, blank or torn ones count as missing."""

from pathlib import Path

import pytest

from swarmnode.errors import JobDamagedError
from swarmnode.executor.job_folder import CrashRecord, JobFolder, read_jobs
from tests.job_lab import spec

WHOLE = b"shim=1\0shim_start=2\0pid=3\0pid_start=4\0started_ms=5\0"


def job(root: Path, name: str) -> JobFolder:
    folder = JobFolder(root / name)
    folder.make()
    folder.write_record(CrashRecord(spec(name, "true"), "boot", {}, 0, 0))
    return folder


@pytest.mark.parametrize("cut", [0, 1, 7, 20, len(WHOLE) - 2])
@pytest.mark.parametrize("fill", [b"", b"\0" * 60])
def test_a_state_that_is_short_is_none(tmp_path: Path, cut: int, fill: bytes) -> None:
    folder = job(tmp_path, "t.1")
    (folder.path / "state").write_bytes(WHOLE)
    assert folder.read_state() is not None
    (folder.path / "state").write_bytes((WHOLE[:cut] + fill)[: len(WHOLE)])
    assert folder.read_state() is None


@pytest.mark.parametrize("size", range(0, 60, 7))
def test_an_exit_that_is_short_is_none(tmp_path: Path, size: int) -> None:
    folder = job(tmp_path, "t.1")
    folder.write_lost()
    whole = (folder.path / "exit").read_bytes()
    (folder.path / "exit").write_bytes(whole[:size])
    assert folder.read_exit() is None


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"{", b"{}", b"[]", b'{"spec": {"argv": 1}}'])
def test_one_bad_job_stops_neither_the_node_nor_the_others_and_is_named(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.1", "b.1", "c.1"):
        job(tmp_path, name)
    (tmp_path / "b.1" / "record.json").write_bytes(damage)
    assert [folder.path.name for folder, _ in read_jobs(tmp_path)] == ["a.1", "c.1"]
    assert f"{tmp_path / 'b.1' / 'record.json'} is damaged" in caplog.text
    assert f"remove {tmp_path / 'b.1'}" in caplog.text
    with pytest.raises(JobDamagedError):
        JobFolder(tmp_path / "b.1").read_record()


def test_what_is_no_job_folder_is_passed_over(tmp_path: Path) -> None:
    job(tmp_path, "a.1")
    (tmp_path / "a file").write_text("")
    (tmp_path / "empty").mkdir()
    assert [folder.path.name for folder, _ in read_jobs(tmp_path)] == ["a.1"]
