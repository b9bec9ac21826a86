"""`status`, `peer ls`, `ping` and `node`, as a person reads them."""

import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from p2p.identity.issue import Grant, Names
from p2p.ids import PeerId
from swarmnode.api.schema.node import MemberLine, MemberMachine, PeerLine, Status, StorageStatus
from swarmnode.cli.main import run
from swarmnode.home import enrol
from swarmnode.home.folders import locate
from tests.api_lab import FakeNode, ServedNode
from tests.fake_market import ADA, BOB
from tests.unit.swarmnode.cli.test_cli_task import ends

CYD = PeerId("12D3cyd")


def says(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    plain = FakeNode().status()

    def status(_node: FakeNode, _person: str = "") -> Status:
        return msgspec.structs.replace(plain, **changes)

    monkeypatch.setattr(FakeNode, "status", status)


def peers(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    lines = tuple(
        PeerLine(peer, name, f"12D3lab{number}", "", "alive", False, True, None, ())
        if peer != ADA
        else PeerLine(peer, name, "12D3lab0", "", "alive", True, True, None, (), lab_name="lab")
        for number, (peer, name) in enumerate(zip((ADA, BOB, CYD), names, strict=False))
    )
    monkeypatch.setattr(FakeNode, "peer_lines", lambda _node: lines)


def test_status_says_why_joining_fails(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = "/ip4/192.0.2.1/tcp/4850: port: refuses connections"
    says(monkeypatch, state="joining", join_step="retrying", join_failures=(failure,))
    assert run(["status"]) == 0
    assert failure in capsys.readouterr().out
    assert run(["status", "--check"]) == 6


def test_limits_that_fail_for_one_reason_are_one_line(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {"memory": "no cgroup: delegate", "cpu": "no cgroup: delegate", "net": "no bwrap"}
    compute = msgspec.structs.replace(FakeNode().status().compute, not_enforced=limits)
    says(monkeypatch, compute=compute)
    assert run(["status"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "not enforced" in line]
    assert told == [
        "not enforced here: cpu, memory: no cgroup: delegate",
        "not enforced here: net: no bwrap",
    ]


def test_labs_go_by_name_and_one_nobody_was_met_of_by_the_end_of_its_id(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers(monkeypatch, "ada", "bob")
    assert run(["peer", "ls"]) == 0
    _, ours, theirs = capsys.readouterr().out.splitlines()
    assert ours.split()[:4] == ["ada", "(me)", "alive", "lab"]
    assert theirs.split()[:3] == ["bob", "alive", "..D3lab1"]


def test_whoever_takes_anothers_name_or_a_labs_is_told_apart_in_the_list(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tuple(
        PeerLine(peer, "box", lab, "", "alive", False, True, None, (), lab_name="physics")
        for peer, lab in ((BOB, "12D3lab1"), (CYD, "12D3lab2"))
    )
    monkeypatch.setattr(FakeNode, "peer_lines", lambda _node: lines)
    assert run(["peer", "ls"]) == 0
    _, one, other = capsys.readouterr().out.splitlines()
    assert one.split()[:3] == ["box..2D3bob", "alive", "physics..D3lab1"]
    assert other.split()[:3] == ["box..2D3cyd", "alive", "physics..D3lab2"]


def test_a_name_two_machines_have_is_refused_with_the_names_that_are_not_shared(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers(monkeypatch, "box", "box", "cyd")
    assert run(["ping", "box"]) == 2
    assert "box..2D3ada, box..2D3bob" in capsys.readouterr().err
    assert run(["ping", "box..2D3bob", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["peer"] == BOB
    assert run(["ping", "cyd", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["peer"] == CYD
    assert run(["ping", "nobody"]) == 5


def test_the_owners_notice_is_the_configured_one_unless_said(node: ServedNode) -> None:
    assert run(["node", "pause"]) == 0
    assert run(["node", "pause", "--grace", "0"]) == 0
    assert run(["node", "pause", "--grace", "-1"]) == 2
    assert node.do(lambda market: market.seller.paused) == [4.5, 0]


def test_people_and_machines_of_one_name_are_told_apart(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tuple(
        MemberLine(
            f"12D3person{end}", name, "12D3lab", "physics", "member",
            machines=(MemberMachine(f"12D3box{end}", "box", "alive"),),
        )
        for name, end in (("ann", "one111"), ("ann", "two222"), ("bob", "three3"))
    )  # fmt: skip
    monkeypatch.setattr(FakeNode, "people_lines", lambda _node: lines)
    assert run(["member", "ls"]) == 0
    _, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert [row[0] for row in rows] == ["ann..one111", "ann..two222", "bob"]
    assert [row[2] for row in rows] == ["box..one111", "box..two222", "box..three3"]


def test_members_are_listed_by_name_and_removed_by_name(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["member", "ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["ann", "physics"]
    assert run(["member", "remove", "nobody"]) == 5
    assert run(["member", "remove", "bob", "--with-invited"]) == 0
    assert capsys.readouterr().out == "person bob is removed\n  with them: carol\n"


def test_status_counts_the_objects_that_lack_copies(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = StorageStatus(1, 2, 3, 4, 5, 6, 5, 1, 2, 1)
    says(monkeypatch, storage=storage, warnings=("objects of yours cannot be read now",))
    assert run(["status"]) == 0
    assert "5 objects lack copies, 1 of them cannot be read now" in capsys.readouterr().out
    assert run(["status", "--check"]) == 6


def test_status_says_of_one_object_that_it_lacks_copies(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says(monkeypatch, storage=StorageStatus(1, 2, 3, 4, 5, 6, 1, 0, 0, 0))
    assert run(["status"]) == 0
    assert "; 1 object lacks copies\n" in capsys.readouterr().out


def test_a_name_in_a_warning_cannot_paint_the_terminal(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says(monkeypatch, warnings=("objects of yours lack copies (a\x1b[2Jb)",))
    assert run(["status"]) == 0
    assert "lack copies (a?[2Jb)" in capsys.readouterr().out


OUT = "this machine is out of the network: ada was removed by bob: ask for a new invite"


def is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    peers(monkeypatch, "ada")
    says(monkeypatch, state="removed", warnings=(OUT,), valid_until_ms=1_827_532_800_000)


def test_the_membership_of_a_machine_that_was_removed_renews_itself_no_more(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says(monkeypatch, valid_until_ms=1_827_532_800_000)
    assert run(["status"]) == 0
    assert "until 2027-11-30, renews itself\n" in capsys.readouterr().out
    is_removed(monkeypatch)
    assert run(["status"]) == 0
    assert "until 2027-11-30, but out of the network\n" in capsys.readouterr().out


def test_what_is_put_or_submitted_on_a_machine_that_was_removed_is_said_to_stay_there(
    node: ServedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ends(node)
    (tmp_path / "data").write_text("one")
    for words in (
        ["obj", "put", str(tmp_path / "data")],
        ["task", "submit", "--", "true"],
    ):
        assert run(words) == 0
        assert "out of the network" not in capfd.readouterr().err
    is_removed(monkeypatch)
    for words in (
        ["obj", "put", str(tmp_path / "data")],
        ["obj", "put", "-o", "json", str(tmp_path / "data")],
        ["task", "submit", "--", "true"],
    ):
        assert run(words) == 0
        told = capfd.readouterr()
        assert f"nobody else hears of it: {OUT}" in told.err
        assert OUT not in told.out


def test_an_invite_of_a_machine_that_was_removed_says_so_and_advises_none_that_it_cannot_give(
    node: ServedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "home").chmod(0o700)
    here, now_ms = locate(os.environ), time.time_ns() // 1_000_000
    founder = locate({"SWARM_HOME": str(tmp_path / "founder")})
    enrol.found_network(founder, Names("m1", "ada", "lab"), os.urandom, now_ms)
    address = f"/ip4/192.0.2.1/tcp/4850/p2p/{enrol.standing(founder, False, now_ms).peer}"
    given = enrol.make_invite(founder, [address], Grant(), os.urandom, now_ms)
    enrol.join(here, given, Names("m2", "bob", ""), os.urandom, now_ms)
    here.api_socket.symlink_to(tmp_path / "home/api.sock")
    assert run(["invite", "--address", address]) == 4
    assert "invite a machine of your own" in capfd.readouterr().err
    is_removed(monkeypatch)
    assert run(["invite", "--address", address]) == 4
    assert capfd.readouterr().err == f"error: {OUT}\n"
    assert run(["invite", "--own-machine", "--address", address]) == 0
    assert f"no member hears from here who may: {OUT}" in capfd.readouterr().err
