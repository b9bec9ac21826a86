"""The internet while it is there, gone, wrong, or leads elsewhere."""

import gzip
from pathlib import Path

import h11
import msgspec
import pytest
import trio
import trio.testing

from tests.mirror_lab import (
    BIG,
    JSON,
    LAB,
    MODEL,
    NAMES,
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
from tests.wheel_lab import make_wheel


async def test_without_the_internet_what_is_kept_is_still_given_and_said_to_be_old(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    data = internet.wheel(wheel_in(tmp_path))
    internet.large(MODEL, BIG)
    way = LabWay(internet, "pypi", "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        for _ in range(2):
            page = await exchange(service, "pypi", way, "/simple/pkg/", JSON)
            told = await exchange(service, "pypi", way, link_in(page))
            model = await exchange(service, "hf", way, MODEL)
            assert (told.body, model.body) == (data, BIG)
            internet.is_down = True
            machines["a"].wall.step(3_600_000)
        assert page.headers["x-swarm-mirror"].startswith("stale: as of ")
        assert model.headers["x-swarm-mirror"].startswith("stale: as of ")
        other = await exchange(machines["b"].service, "pypi", way, "/simple/pkg/", JSON)
        assert other.status == 502  # nobody can tell whether a page is right: it is not shared
        assert b"no route to host" in other.body


async def test_a_new_release_shows_after_a_minute_and_one_that_is_gone_is_gone(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """Not after half an hour (devpi#1044), and not for ever what the index has taken back
    (devpi#817)."""
    internet.wheel(wheel_in(tmp_path))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        machine = machines["a"]

        async def count() -> int:
            told = await exchange(machine.service, "pypi", way, "/simple/pkg/", JSON)
            return len(msgspec.json.decode(told.body)["files"]) if told.status == 200 else -1

        assert await count() == 1
        machine.wall.step(61_000)
        assert await count() == 1
        assert internet.asked[-1] == "GET pypi.org /simple/pkg/"
        assert ("if-none-match", '"1"') in internet.heads[-1]
        machine.wall.step(30_000)
        assert await count() == 1
        machine.wall.step(31_000)
        del internet.replies["pypi.org", "/simple/pkg/"]
        assert await count() == -1
        internet.put("pypi.org/simple/pkg/", Reply(b"", 429))  # too many asked: it is not gone
        assert await count() == 1


@pytest.mark.parametrize("changed", [b"x" + BIG[1:], BIG[:-1] + b"x"])
async def test_what_came_wrongly_from_the_internet_is_not_whole_and_not_kept(
    tmp_path: Path, authority: Authority, internet: Internet, changed: bytes
) -> None:
    """A node of a CDN gave corrupted files for a day (warehouse#17747), and who keeps one such
    fails from then on (pip#3792, PkgServer.jl#126)."""
    internet.large(MODEL, BIG)
    internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", Reply(changed))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(service, "hf", way, MODEL)
        internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", Reply(BIG))
        assert (await exchange(service, "hf", way, MODEL)).body == BIG


@pytest.mark.parametrize("changed", [b"", BIG[:-1], BIG + b"x"])
async def test_a_file_of_another_length_than_the_hub_says_is_refused_at_once(
    tmp_path: Path, authority: Authority, internet: Internet, changed: bytes
) -> None:
    """Of none nothing can be held back: it would be whole before it was checked."""
    internet.large(MODEL, BIG)
    internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", Reply(changed))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        told = await exchange(machines["a"].service, "hf", way, MODEL)
        assert (told.status, f"and not {len(BIG)}".encode() in told.body) == (502, True)


@pytest.mark.parametrize("length", [0, 1, 70_000])
async def test_a_wheel_of_other_bytes_is_not_whole_however_few_they_are(
    tmp_path: Path, authority: Authority, internet: Internet, length: int
) -> None:
    wheel = wheel_in(tmp_path)
    internet.wheel(wheel)
    internet.put(f"files.pythonhosted.org/packages/{wheel.name}", Reply(bytes(length)))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        link = link_in(await exchange(service, "pypi", way, "/simple/pkg/", JSON))
        if length > 65536:
            with pytest.raises(h11.RemoteProtocolError):
                await exchange(service, "pypi", way, link)
        else:
            assert (await exchange(service, "pypi", way, link)).status == 502


@pytest.mark.parametrize("stays", [True, False])
async def test_a_connection_to_a_host_is_asked_more_while_it_stays(
    tmp_path: Path, authority: Authority, internet: Internet, stays: bool
) -> None:
    """One that its host has ended meanwhile is made anew."""
    internet.stays = stays
    for number in range(4):
        internet.wheel(make_wheel(tmp_path, f"pkg{number}", "1.0", {}))
    way = LabWay(internet, "pypi")
    async with (
        mirror_machines(tmp_path, authority, LAB) as machines,
        one_who_asks(machines["a"].service, "pypi", way) as near,  # it stays connected
    ):
        for number in range(4):
            target = f"/simple/pkg{number}/"
            told = await exchange(machines["a"].service, "pypi", way, target, JSON)
            assert told.status == 200
        assert internet.connections == (1 if stays else 4)
        await near.aclose()


async def test_what_breaks_off_is_not_kept(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.large(MODEL, BIG)
    internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", Reply(BIG, cut=300_000))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(machines["a"].service, "hf", way, MODEL)
        assert [path.name for path in (tmp_path / "a").iterdir() if "sha" in path.name] == []


async def test_a_host_that_nobody_vouches_for_is_not_talked_to(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", NAMES)
    async with mirror_machines(tmp_path, other, LAB) as machines:
        way = LabWay(internet, "pypi")
        told = await exchange(machines["a"].service, "pypi", way, "/simple/pkg/", JSON)
        assert (told.status, b"certificate" in told.body or b"issuer" in told.body) == (502, True)
    assert internet.asked == []


async def test_a_page_that_is_a_bomb_is_refused(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    bomb = gzip.compress(bytes(80 * 1024 * 1024), 1)
    headers = [("content-encoding", "gzip")]
    internet.put("pypi.org/simple/pkg/", Reply(bomb, headers=headers))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        told = await exchange(machines["a"].service, "pypi", way, "/simple/pkg/", JSON)
        assert (told.status, b"too long" in told.body) == (502, True)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("https://huggingface.co/loop", b"leads on and on"),
        ("https://169.254.169.254/latest", b"no address by https"),
        ("https://10.0.0.1/x", b"no address by https"),
        ("https://evil.org/x", b"refused: evil.org:443"),
        ("http://cdn-lfs.hf.co/x", b"no address by https"),
        ("file:///etc/passwd", b"no address by https"),
        ("https://a:b@cdn-lfs.hf.co/x", b"no address by https"),
    ],
)
async def test_where_a_file_must_not_lead_nobody_follows(
    tmp_path: Path, authority: Authority, internet: Internet, where: str, why: bytes
) -> None:
    internet.large(MODEL, BIG)
    head = internet.replies["huggingface.co", MODEL].headers
    headers = [(name, where if name == "location" else value) for name, value in head]
    for path in (MODEL, PINNED):
        internet.put(f"huggingface.co{path}", Reply(b"", 302, headers))
    internet.put("huggingface.co/loop", Reply(b"", 302, [("location", "/loop")]))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        told = await exchange(machines["a"].service, "hf", way, MODEL)
        assert (told.status in (403, 502), why in told.body) == (True, True)


async def test_a_length_beside_chunks_is_not_believed(
    tmp_path: Path, authority: Authority, internet: Internet, caplog: pytest.LogCaptureFixture
) -> None:
    """More came than was announced: all that was announced would be shown before the check."""
    pieces = [bytes(len(BIG)), bytes(1 << 20)]

    async def act(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(BIG))
        await stream.send_all(b"transfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            await stream.send_all(b"%x\r\n%s\r\n" % (len(piece), piece))
        await stream.send_all(b"0\r\n\r\n")

    internet.large(MODEL, BIG)
    internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", Reply(act=act))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(machines["a"].service, "hf", way, MODEL)
        pieces[:] = [BIG[:9], BIG[9:]]
        told = await exchange(machines["a"].service, "hf", way, MODEL)
        assert (told.headers["x-swarm-mirror"], told.body) == ("passed", BIG)
        assert "content-length" not in told.headers
        assert not list((tmp_path / "a").glob("sha256-*"))
    assert "fault" not in caplog.text


async def test_a_name_of_a_file_in_any_letters_is_passed_on(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """Servers write what is not ASCII into content-disposition as it is."""
    internet.large(PINNED, BIG)
    name = ("content-disposition", 'inline; filename="größe.bin"')
    internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", Reply(BIG, headers=[name]))
    head = internet.replies["huggingface.co", PINNED].headers
    internet.put(f"huggingface.co{PINNED}", Reply(b"", 302, [*head, name]))
    internet.put("huggingface.co/api/x", Reply(b"{}", headers=[name]))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        for target, body in ((PINNED, BIG), ("/api/x", b"{}")):
            told = await exchange(service, "hf", way, target, {"x-who": "größe"})
            assert (told.status, told.body) == (200, body)
            assert "gr" in told.headers["content-disposition"]


async def test_bytes_that_are_packed_all_the_same_are_not_taken_for_the_file(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """hf_hub checks nothing but how many there are."""
    internet.large(PINNED, BIG)
    packed = gzip.compress(BIG)
    reply = Reply(packed, headers=[("content-encoding", "gzip")])
    internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", reply)
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        told = await exchange(machines["a"].service, "hf", way, PINNED)
        assert (told.body, told.headers["content-encoding"]) == (packed, "gzip")
