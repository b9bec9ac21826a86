"""What a full or bad disk, and the bound of what is kept, mean for who asks."""

import errno
import os
from pathlib import Path

import h11
import pytest

from swarmnode.mirror.errors import NotKeptError
from swarmnode.mirror.shelf import MirrorShelf
from tests.mirror_lab import (
    BIG,
    COMMIT,
    LAB,
    MODEL,
    PINNED,
    Internet,
    LabWay,
    Reply,
    exchange,
    mirror_machines,
    sha256,
)
from tests.net_lab import Authority


async def test_a_disk_that_fills_up_ends_in_a_reset_and_then_it_is_passed_on(
    tmp_path: Path,
    authority: Authority,
    internet: Internet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(fd: int, data: bytes, at: int) -> int:
        if at > most:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data, at)

    write, most = os.pwrite, 500_000
    internet.large(PINNED, BIG)
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(service, "hf", way, PINNED)
        most = -1
        told = await exchange(service, "hf", way, PINNED)
        assert (told.body, told.headers["x-swarm-mirror"]) == (BIG, "passed")
        assert told.headers["x-repo-commit"] == COMMIT
        assert service.kept_bytes < 2000
    assert "fault" not in caplog.text


async def test_room_is_made_by_letting_go_of_what_was_used_least_recently(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    way = LabWay(internet, "hf")
    for number in range(4):
        internet.large(f"/o/n/resolve/{COMMIT}/{number}", BIG + b"%d" % number)
    async with mirror_machines(tmp_path, authority, LAB, bytes_max=3 << 20) as machines:
        service = machines["c"].service

        async def said(number: int) -> str:
            target = f"/o/n/resolve/{COMMIT}/{number}"
            told = await exchange(service, "hf", way, target)
            assert told.body == BIG + b"%d" % number
            return told.headers["x-swarm-mirror"]

        assert [await said(number) for number in (0, 1, 0, 2, 0, 1)] == [
            "upstream", "upstream", "kept", "upstream", "kept", "upstream",
        ]  # fmt: skip
        assert service.kept_bytes <= 3 << 20
        internet.large("/o/n/resolve/main/huge", BIG * 2)
        told = await exchange(service, "hf", way, "/o/n/resolve/main/huge")
        assert (told.body, told.headers["x-swarm-mirror"]) == (BIG * 2, "passed")


async def test_the_end_of_a_wrong_file_is_not_passed_on_either(
    tmp_path: Path,
    authority: Authority,
    internet: Internet,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Hosts gave other bytes than they named for hours (warehouse#17747)."""
    internet.large(MODEL, BIG)
    way, store = LabWay(internet, "hf"), f"cdn-lfs.hf.co/{sha256(BIG)}"
    async with mirror_machines(tmp_path, authority, LAB, bytes_max=1 << 20) as machines:
        service = machines["a"].service
        told = await exchange(service, "hf", way, MODEL)
        assert (told.body, told.headers["x-swarm-mirror"]) == (BIG, "passed")
        internet.put(store, Reply(BIG[:-1] + b"D"))
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(service, "hf", way, MODEL)
        assert "cdn-lfs.hf.co" in caplog.text
        assert "is not what its digest says" in caplog.text
        told = await exchange(service, "hf", way, MODEL, {"range": "bytes=5-9"})
        assert (told.status, told.body) == (206, BIG[5:10])  # of a part nobody can tell


async def test_what_a_bad_disk_made_of_a_file_is_fetched_again(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.large(PINNED, BIG)
    way = LabWay(internet, "hf")
    kept = tmp_path / "c" / f"sha256-{sha256(BIG)}"
    for said in ("upstream", "kept", "upstream"):
        async with mirror_machines(tmp_path, authority, LAB) as machines:
            assert not (tmp_path / "c" / ".7").exists()
            told = await exchange(machines["c"].service, "hf", way, PINNED)
            assert (told.body, told.headers["x-swarm-mirror"]) == (BIG, said)
        (tmp_path / "c" / ".7").touch()  # what a killed node left
        if said == "kept":
            kept.write_bytes(BIG[:-1] + b"x")


async def test_a_machine_is_asked_again_though_here_was_no_room(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """Who asks for what is too large for this machine has not kept it from all of the lab."""
    small, large = "/o/n/resolve/main/small", "/o/n/resolve/main/large"
    internet.large(small, BIG)
    internet.large(large, BIG * 4)
    way = LabWay(internet, "hf")
    rooms = {"b": 4 << 20}
    async with mirror_machines(tmp_path, authority, LAB, rooms=rooms) as machines:
        for target in (small, large):
            await exchange(machines["a"].service, "hf", way, target)
        service = machines["b"].service
        said = [
            (await exchange(service, "hf", way, target)).headers["x-swarm-mirror"]
            for target in (large, small)
        ]
    assert said == ["passed", "lab"]


def test_what_finds_no_room_pushes_nothing_out(tmp_path: Path) -> None:
    shelf = MirrorShelf(tmp_path, 100)
    shelf.look()
    shelf.write_page("p", bytes(8))
    coming = [shelf.begin(size) for size in (30, 30)]
    assert shelf.read_page("p") == bytes(8)
    with pytest.raises(NotKeptError, match="on its way already"):
        shelf.begin(50)
    assert shelf.read_page("p") == bytes(8)
    for one in coming:
        os.close(one.fd)
        shelf.end(one)
    assert shelf.kept_bytes == 40


def test_a_node_without_descriptors_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that holds many connections must not empty the shelf of all."""

    def none_left(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    name = f"sha256-{sha256(BIG)}"
    (tmp_path / name).write_bytes(BIG)
    shelf = MirrorShelf(tmp_path, 1 << 30)
    shelf.look()
    with monkeypatch.context() as full:
        full.setattr(os, "open", none_left)
        assert not shelf.check(name)
        with pytest.raises(OSError, match="open files"):
            shelf.open(name)
    assert shelf.check(name)
    assert shelf.size(name) == len(BIG)
