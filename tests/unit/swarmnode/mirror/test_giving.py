"""What a program is given of a file: all, a part or its head, as fast as it reads."""

from pathlib import Path

import pytest
import trio
import trio.testing

from tests.mirror_lab import (
    BIG,
    COMMIT,
    JSON,
    LAB,
    MODEL,
    PINNED,
    Internet,
    LabWay,
    Reply,
    exchange,
    link_in,
    mirror_machines,
    one_who_asks,
    sha256,
    wheel_in,
)
from tests.net_lab import Authority

ASK = b"GET " + PINNED.encode() + b" HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("is_near", [False, True])
async def test_parts_are_given(
    tmp_path: Path, authority: Authority, internet: Internet, is_near: bool
) -> None:
    """Of what is not here a middle part comes from the internet, and the rest of a file that a
    program has begun brings all of it."""
    internet.large(MODEL, BIG)
    way, size = LabWay(internet, "hf"), len(BIG)
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        if is_near:
            await exchange(service, "hf", way, MODEL)
            told = await exchange(service, "hf", way, MODEL, {"range": "bytes=1-3"})
            assert (told.status, told.body) == (206, BIG[1:4])
            assert told.headers["content-range"] == f"bytes 1-3/{size}"
        else:
            told = await exchange(service, "hf", way, MODEL, {"range": "bytes=0-0"})
            assert ("range", "bytes=0-0") in internet.heads[-1]
            # Loaders learn of a file by its first byte (modelexpress#467).
            assert told.headers["content-range"] == f"bytes 0-0/{size}"
            assert told.headers["x-repo-commit"] == COMMIT
            assert told.headers["etag"] == f'"{sha256(BIG)}"'
        told = await exchange(service, "hf", way, MODEL, {"range": "bytes=1000000-"})
        assert (told.status, told.body) == (206, BIG[1_000_000:])
        beyond = await exchange(service, "hf", way, MODEL, {"range": f"bytes={size}-"})
        assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")
        assert (await exchange(service, "hf", way, MODEL)).headers["x-swarm-mirror"] == "kept"


async def test_the_head_of_a_file_brings_none_of_it(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    data = internet.wheel(wheel_in(tmp_path))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        link = link_in(await exchange(service, "pypi", way, "/simple/pkg/", JSON))
        for _ in range(2):
            told = await exchange(service, "pypi", way, link, method="HEAD")
            assert (told.status, told.body) == (200, b"")
            assert told.headers["content-length"] == str(len(data))
            await exchange(service, "pypi", way, link)
    assert internet.count("GET files.pythonhosted.org") == 1


async def test_a_file_that_is_not_there_is_asked_for_once(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """Loaders ask for many that a repository may have."""
    headers = [("x-error-code", "EntryNotFound")]
    internet.put(f"huggingface.co{MODEL}", Reply(b"", 404, headers))
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        told = await exchange(machines["a"].service, "hf", LabWay(internet, "hf"), MODEL)
        assert (told.status, told.headers["x-error-code"]) == (404, "EntryNotFound")
    assert len(internet.asked) == 1


async def test_a_branch_that_moves_meanwhile_is_what_was_told(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.large(MODEL, BIG)
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        head = await exchange(machines["a"].service, "hf", way, MODEL, method="HEAD")
        moved = Reply(b"", 302, [("location", "https://cdn-lfs.hf.co/other")])
        internet.put(f"huggingface.co{MODEL}", moved)
        told = await exchange(machines["a"].service, "hf", way, MODEL)
        assert (told.body, told.headers["etag"]) == (BIG, head.headers["etag"])


async def test_one_who_does_not_read_holds_up_nobody_else(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """A slow reader kept a cache from being filled, and others waited for it (envoy#34595)."""
    large = BIG * 12
    internet.large(PINNED, large)
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        async with one_who_asks(service, "hf", way, ASK, lockstep=True):
            await internet.asked_for("cdn-lfs")
            assert (await exchange(service, "hf", way, PINNED)).body == large
    assert internet.count("cdn-lfs") == 1


async def test_a_file_comes_no_further_than_somebody_reads(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """Who asks and does not read, or goes, has not had gigabytes fetched for them."""
    gone, sent = trio.Event(), 0

    async def large(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (1 << 28))
        try:
            while sent < 1 << 28:
                await stream.send_all(bytes(1 << 20))
                sent += 1 << 20
        except trio.BrokenResourceError:
            gone.set()
            raise

    internet.large(PINNED, b"", size=1 << 28)
    internet.put(f"cdn-lfs.hf.co/{sha256(b'')}", Reply(act=large))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        async with one_who_asks(machines["a"].service, "hf", way, ASK, lockstep=True):
            await internet.asked_for("cdn-lfs")
            await trio.testing.wait_all_tasks_blocked(0.3)
            assert 0 < sent < 64 << 20  # what the kernel takes on both sides is in it
        await gone.wait()


async def test_a_part_is_of_the_file_that_was_begun_and_of_no_other(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """pip and huggingface_hub (#4143) go on with a download by If-Range."""
    internet.large(MODEL, BIG)
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service

        async def rest(tag: str, part: str = "bytes=9-") -> tuple[int, bytes]:
            told = await exchange(service, "hf", way, MODEL, {"range": part, "if-range": tag})
            return told.status, told.body

        assert await rest('"other"', "bytes=9-19") == (200, BIG)
        assert await rest(f'"{sha256(BIG)}"') == (206, BIG[9:])
        known = {"if-none-match": f'"{sha256(BIG)}"'}
        told = await exchange(service, "hf", way, MODEL, known)
        assert (told.status, told.body, told.headers["x-repo-commit"]) == (304, b"", COMMIT)


async def test_an_empty_file_is_given_to_any_range(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.small("/o/n/resolve/main/__init__.py", b"")
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        for _ in range(2):
            told = await exchange(
                machines["a"].service,
                "hf",
                way,
                "/o/n/resolve/main/__init__.py",
                {"range": "bytes=0-"},
            )
            assert (told.status, told.body, told.headers["content-length"]) == (200, b"", "0")
