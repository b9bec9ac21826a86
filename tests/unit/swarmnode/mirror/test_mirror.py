"""What programs of tasks get from a mirror, while the internet is there, slow, wrong, or gone."""

import errno
import gzip
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import h11
import msgspec
import pytest
import trio

from p2p.errors import RemoteRefusalError
from p2p.ids import PeerId, TrafficClass
from swarmnode.mirror.messages import MirroredPiece, ReadMirrored
from tests.mirror_lab import (
    COMMIT,
    NAMES,
    Internet,
    LabWay,
    Reply,
    Told,
    exchange,
    internet_at,
    mirror_machines,
    sha256,
)
from tests.net_lab import Authority
from tests.wheel_lab import make_wheel

LAB = {"a": "lab", "b": "lab", "c": "other"}
BIG = bytes(range(256)) * 4096 + b"the end"
MODEL = "/o/n/resolve/main/model.safetensors"
PINNED = MODEL.replace("main", COMMIT)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, NAMES)


@pytest.fixture
async def internet(authority: Authority) -> AsyncIterator[Internet]:
    with trio.fail_after(30):
        async with internet_at(authority) as one:
            yield one


def _wheel(folder: Path) -> Path:
    return make_wheel(folder, "pkg", "1.0", {"pkg.py": "x = 1\n" * 5000})


async def _link(told: Told) -> str:
    file = msgspec.json.decode(told.body)["files"][0]
    return str(file["url"]).removeprefix("http://pypi.mirror.swarm")


JSON = {"accept": "application/vnd.pypi.simple.v1+json"}


async def test_a_wheel_leaves_the_internet_once_for_a_lab(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    data = internet.wheel(_wheel(tmp_path))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        for name, said in (("a", "upstream"), ("a", "kept"), ("b", "lab"), ("c", "upstream")):
            service = machines[name].service
            page = await exchange(service, "pypi", way, "/simple/Pkg/", JSON)
            link = await _link(page)
            told = await exchange(service, "pypi", way, link)
            assert (told.status, told.body) == (200, data)
            assert told.headers["x-swarm-mirror"] == said
            beside = await exchange(service, "pypi", way, f"{link}.metadata")
            assert beside.body.startswith(b"Metadata-Version")
    assert internet.count("pkg-1.0-py3-none-any.whl") - internet.count(".metadata") == 2


async def test_a_model_leaves_the_internet_once_for_a_lab(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """huggingface_hub wants a commit (#1796), a length (hf-mirror-site#31) and a name of the
    content; and to be led nowhere else."""
    internet.large(MODEL, BIG)
    internet.small("/o/n/resolve/main/config.json", b"{}")
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        for name, said in (("a", "upstream"), ("b", "lab"), ("b", "kept")):
            service = machines[name].service
            fetched = internet.count("GET")
            head = await exchange(service, "hf", way, MODEL, method="HEAD")
            assert internet.count("GET") == fetched  # clients wait ten seconds (#3594)
            assert (head.status, head.body) == (200, b"")
            assert head.headers["x-repo-commit"] == COMMIT
            assert head.headers["content-length"] == head.headers["x-linked-size"] == str(len(BIG))
            assert head.headers["etag"] == f'"{sha256(BIG)}"'
            assert not {"location", "x-xet-hash"} & set(head.headers)
            told = await exchange(service, "hf", way, MODEL)
            assert (told.body, told.headers["x-swarm-mirror"]) == (BIG, said)
            small = await exchange(service, "hf", way, "/o/n/resolve/main/config.json")
            assert (small.body, small.headers["x-repo-commit"]) == (b"{}", COMMIT)
    assert internet.count("cdn-lfs.hf.co") == 1


async def test_without_the_internet_what_is_kept_is_still_given_and_said_to_be_old(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    data = internet.wheel(_wheel(tmp_path))
    internet.large(MODEL, BIG)
    way = LabWay(internet, "pypi", "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        for _ in range(2):
            page = await exchange(service, "pypi", way, "/simple/pkg/", JSON)
            told = await exchange(service, "pypi", way, await _link(page))
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
    internet.wheel(_wheel(tmp_path))
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


async def test_a_machine_of_the_lab_that_lies_is_found_out_by_the_digest(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.large(MODEL, BIG)
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        await exchange(machines["a"].service, "hf", way, MODEL)
        kept = tmp_path / "a" / f"sha256-{sha256(BIG)}"
        kept.write_bytes(b"x" + BIG[1:])
        told = await exchange(machines["b"].service, "hf", way, MODEL)
        assert (told.body, told.headers["x-swarm-mirror"]) == (BIG, "upstream")


@pytest.mark.parametrize("changed", [b"x", BIG[:-1], BIG + b"x", b"x" + BIG[1:], b""])
async def test_nothing_of_a_lie_is_shown_not_even_how_long_it_was(
    tmp_path: Path, authority: Authority, internet: Internet, changed: bytes
) -> None:
    internet.wheel(_wheel(tmp_path))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        page = await exchange(machines["a"].service, "pypi", way, "/simple/pkg/", JSON)
        told = await exchange(machines["a"].service, "pypi", way, await _link(page))
    (tmp_path / "a" / f"sha256-{sha256(told.body)}").write_bytes(changed)
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        again = await exchange(machines["b"].service, "pypi", way, await _link(page))
        assert (again.body, again.headers["x-swarm-mirror"]) == (told.body, "upstream")


@pytest.mark.parametrize("changed", [BIG[:-1], BIG + b"x", b"x" + BIG[1:]])
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


@pytest.mark.parametrize("stays", [True, False])
async def test_a_connection_to_a_host_is_asked_more_while_it_stays(
    tmp_path: Path, authority: Authority, internet: Internet, stays: bool
) -> None:
    """One that its host has ended meanwhile is made anew."""
    internet.stays = stays
    for number in range(4):
        internet.wheel(make_wheel(tmp_path, f"pkg{number}", "1.0", {}))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        near, far = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:  # as long as the task is connected
            nursery.start_soon(machines["a"].service.serve, "pypi", far, way)
            for number in range(4):
                target = f"/simple/pkg{number}/"
                told = await exchange(machines["a"].service, "pypi", way, target, JSON)
                assert told.status == 200
            assert internet.connections == (1 if stays else 4)
            await near.aclose()


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


async def test_one_who_does_not_read_holds_up_nobody_else(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """A slow reader kept a cache from being filled, and others waited for it (envoy#34595)."""
    large = BIG * 12
    internet.large(PINNED, large)
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        near, far = trio.testing.lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.serve, "hf", far, way)
            await near.send_all(b"GET " + PINNED.encode() + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            await internet.asked_for("cdn-lfs")
            assert (await exchange(service, "hf", way, PINNED)).body == large
            nursery.cancel_scope.cancel()
    assert internet.count("cdn-lfs") == 1


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


async def test_those_who_want_it_at_once_read_along_with_one_fetch(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.large(PINNED, BIG)
    held = trio.Event()
    internet.put(f"cdn-lfs.hf.co/{sha256(BIG)}", Reply(BIG, holds=held))
    way = LabWay(internet, "hf")
    told: list[Told] = []
    async with mirror_machines(tmp_path, authority, LAB) as machines:

        async def one() -> None:
            told.append(await exchange(machines["a"].service, "hf", way, PINNED))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
            await internet.asked_for("cdn-lfs")
            service = machines["a"].service  # it flows while it comes (proxpi#65)
            early = await exchange(service, "hf", way, PINNED, {"range": "bytes=0-9"})
            assert (early.status, early.body) == (206, BIG[:10])
            held.set()
    assert [one.body == BIG for one in told] == [True] * 5
    assert internet.count("cdn-lfs.hf.co") == 1


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
    data = internet.wheel(_wheel(tmp_path))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        link = await _link(await exchange(service, "pypi", way, "/simple/pkg/", JSON))
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


async def test_what_needs_a_token_is_passed_on_and_never_kept(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    async def only_with_token(stream: trio.abc.Stream) -> None:
        words = dict(internet.heads[-1])
        answer = b"200 OK\r\nx-repo-commit: " + COMMIT.encode()
        if words.get("authorization") != "Bearer hf_x":
            answer = b"401 Unauthorized\r\nx-error-code: GatedRepo"
        body = b"" if internet.asked[-1].startswith("HEAD") else b"secret"
        await stream.send_all(b"HTTP/1.1 " + answer + b"\r\ncontent-length: 6\r\n\r\n" + body)

    internet.put(f"huggingface.co{MODEL}", Reply(act=only_with_token))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        token = {"authorization": "Bearer hf_x"}
        for _ in range(2):
            told = await exchange(service, "hf", way, MODEL, token)
            assert (told.status, told.body) == (200, b"secret")
            assert told.headers["x-swarm-mirror"] == "passed"
        refused = await exchange(service, "hf", way, MODEL)
        assert (refused.status, refused.headers["x-error-code"]) == (401, "GatedRepo")
    assert list((tmp_path / "a").iterdir()) == []


async def test_what_everybody_may_read_is_kept_though_a_token_came_with_it(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.large(MODEL, BIG)
    way, token = LabWay(internet, "hf"), {"authorization": "Bearer hf_x"}
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        told = await exchange(machines["a"].service, "hf", way, MODEL, token)
        assert told.body == BIG
    assert all(name != "authorization" for head in internet.heads for name, _ in head)
    assert (tmp_path / "a" / f"sha256-{sha256(BIG)}").exists()


async def test_a_token_goes_to_the_hub_and_to_no_store_it_leads_to(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    """What is passed on leads the program on; it decides itself whom it tells its token."""
    where = "https://cdn-lfs.hf.co/x?sig=1"
    internet.put("huggingface.co/api/x", Reply(b"", 302, [("location", where)]))
    way, token = LabWay(internet, "hf"), {"authorization": "Bearer hf_x"}
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        told = await exchange(machines["a"].service, "hf", way, "/api/x", token)
        assert (told.status, told.headers["location"]) == (302, where)
    assert internet.count("cdn-lfs") == 0


async def test_all_else_of_the_hub_works_as_there(
    tmp_path: Path,
    authority: Authority,
    internet: Internet,
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = '<https://huggingface.co/api/models/o/n/tree/main?cursor=c>; rel="next"'
    internet.put("huggingface.co/api/models/o/n", Reply(b"[]", headers=[("link", link)]))
    heard: list[bytes] = []

    async def hears(stream: trio.abc.Stream) -> None:
        heard.append(bytes(await stream.receive_some(100)))
        await stream.send_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok")

    internet.put("huggingface.co/api/repos/create", Reply(act=hears))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service = machines["a"].service
        told = await exchange(service, "hf", way, "/api/models/o/n?expand=1")
        assert (told.body, told.headers["link"]) == (
            b"[]", link.replace("https://huggingface.co", "http://hf.mirror.swarm"),
        )  # fmt: skip
        made = await exchange(service, "hf", way, "/api/repos/create", method="POST", body=b"{}")
        assert (made.status, made.body) == (201, b"ok")
        internet.is_down = True
        told = await exchange(service, "hf", way, "/api/models/o/n?expand=1")
        assert told.body == b"[]"
        assert told.headers["x-swarm-mirror"].startswith("stale")
        none = await exchange(service, "hf", way, "/api/models/o/n?expand=2")
        assert none.status == 502
        internet.is_down = False
        internet.put("huggingface.co/api/long", Reply(bytes(9 << 20), cut=1 << 20))
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(service, "hf", way, "/api/long")
    assert "fault" not in caplog.text


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


async def test_a_fault_of_ours_ends_one_connection(
    tmp_path: Path,
    authority: Authority,
    internet: Internet,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FaultyWay(LabWay):
        async def connect(self, host: str, port: int) -> socket.socket:
            raise ZeroDivisionError

    internet.wheel(_wheel(tmp_path))
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        service, way = machines["a"].service, LabWay(internet, "pypi")
        faulty = FaultyWay(internet, "pypi")
        with pytest.raises(h11.RemoteProtocolError):
            await exchange(service, "pypi", faulty, "/simple/pkg/", JSON)
        assert (await exchange(service, "pypi", way, "/simple/pkg/", JSON)).status == 200
    assert "ZeroDivisionError" in caplog.text


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

    internet.large(PINNED, b"")
    internet.put(f"cdn-lfs.hf.co/{sha256(b'')}", Reply(act=large))
    way = LabWay(internet, "hf")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        near, far = trio.testing.lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machines["a"].service.serve, "hf", far, way)
            await near.send_all(b"GET " + PINNED.encode() + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            await internet.asked_for("cdn-lfs")
            await trio.testing.wait_all_tasks_blocked(0.3)
            assert 0 < sent < 64 << 20  # what the kernel takes on both sides is in it
            nursery.cancel_scope.cancel()
        await gone.wait()


async def test_what_is_kept_is_told_to_machines_of_our_lab_alone(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    internet.large(PINNED, BIG)
    kept = f"sha256-{sha256(BIG)}"
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        await exchange(machines["a"].service, "hf", LabWay(internet, "hf"), PINNED)

        async def told(asker: str, ask: ReadMirrored) -> tuple[int, bytes] | str:
            try:
                piece, body = await machines[asker].rpc.call(
                    PeerId("a"), ask, MirroredPiece, traffic_class=TrafficClass.NORMAL, timeout_s=9
                )
            except RemoteRefusalError as error:
                return error.code
            return piece.size, body

        (page,) = [path.name for path in (tmp_path / "a").glob("page-*")]
        assert await told("b", ReadMirrored(kept, 3, 4)) == (len(BIG), BIG[3:7])
        assert await told("b", ReadMirrored(kept, len(BIG), 9)) == (len(BIG), b"")
        assert await told("c", ReadMirrored(kept, 3, 4)) == "lab"
        for name in (page, "../b/x", "", "git-" + 40 * "0", "sha256-" + 64 * "0"):
            assert await told("b", ReadMirrored(name, 0, 4)) == "unknown"
        for start, count in ((-1, 4), (len(BIG) + 1, 1), (0, -1), (0, 1 << 30)):
            assert await told("b", ReadMirrored(kept, start, count)) == "range"


@pytest.mark.parametrize(
    "words",
    [
        b"GET /simple/a/ HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 60_000 + b"\r\n\r\n",
        b"GET /simple/a\r\nx: 1 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET /simple/a/ HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"CONNECT evil.org:443 HTTP/1.1\r\nhost: evil.org\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so(
    tmp_path: Path, authority: Authority, internet: Internet, words: bytes
) -> None:
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        near, far = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            way = LabWay(internet, "pypi")
            nursery.start_soon(machines["a"].service.serve, "pypi", far, way)
            await near.send_all(words)
            said = bytes(await near.receive_some())
            nursery.cancel_scope.cancel()
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405", b"HTTP/1.1 431"))
    assert internet.asked == []
