"""A file leaves the internet once for a lab, and no machine of it is believed."""

from pathlib import Path

import pytest
import trio

from p2p.errors import RemoteRefusalError
from p2p.ids import PeerId, TrafficClass
from swarmnode.mirror.messages import MirroredPiece, ReadMirrored
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
    Told,
    exchange,
    link_in,
    mirror_machines,
    sha256,
    wheel_in,
)
from tests.net_lab import Authority


async def test_a_wheel_leaves_the_internet_once_for_a_lab(
    tmp_path: Path, authority: Authority, internet: Internet
) -> None:
    data = internet.wheel(wheel_in(tmp_path))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        for name, said in (("a", "upstream"), ("a", "kept"), ("b", "lab"), ("c", "upstream")):
            service = machines[name].service
            page = await exchange(service, "pypi", way, "/simple/Pkg/", JSON)
            link = link_in(page)
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
    internet.wheel(wheel_in(tmp_path))
    way = LabWay(internet, "pypi")
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        page = await exchange(machines["a"].service, "pypi", way, "/simple/pkg/", JSON)
        told = await exchange(machines["a"].service, "pypi", way, link_in(page))
    (tmp_path / "a" / f"sha256-{sha256(told.body)}").write_bytes(changed)
    async with mirror_machines(tmp_path, authority, LAB) as machines:
        again = await exchange(machines["b"].service, "pypi", way, link_in(page))
        assert (again.body, again.headers["x-swarm-mirror"]) == (told.body, "upstream")
