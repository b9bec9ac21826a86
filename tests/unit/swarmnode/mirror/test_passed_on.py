"""What is one's own at the hub is passed on and never kept; all else of it works as there."""

from pathlib import Path

import h11
import pytest
import trio

from tests.mirror_lab import (
    BIG,
    COMMIT,
    LAB,
    MODEL,
    Internet,
    LabWay,
    Reply,
    exchange,
    mirror_machines,
    sha256,
)
from tests.net_lab import Authority


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
