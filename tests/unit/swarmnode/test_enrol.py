"""Founding, inviting, joining: what is on disk afterwards, and what a repeat changes."""

import json
import os
from pathlib import Path

import pytest

from p2p.errors import AdmissionError, IdentityError, InviteError
from p2p.identity.invites import Invite, decode_invite, encode_invite
from p2p.identity.issue import DAY_MS, Grant, Names
from p2p.identity.key_files import load_key_file
from swarmnode.home import enrol
from swarmnode.home.folders import Home, locate
from swarmnode.home.recover import recover
from swarmnode.home.unnamed import Unnamed, read_unnamed

NOW = 1_800_000_000_000
HERE = "/ip4/192.0.2.1/tcp/4850/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x"
ANN, BOB = Names("alpha", "ann", "physics"), Names("beta", "bob", "chem", "room 2", ("storage",))


@pytest.fixture
def alpha(tmp_path: Path) -> Home:
    home = locate({"SWARM_HOME": str(tmp_path / "alpha")})
    enrol.found_network(home, ANN, os.urandom, NOW)
    return home


@pytest.fixture
def beta(tmp_path: Path) -> Home:
    return locate({"SWARM_HOME": str(tmp_path / "beta")})


def test_without_keys_the_way_to_a_network_is_named(beta: Home) -> None:
    beta.make()
    for ask in (enrol.load_machine, lambda home: enrol.standing(home, False, NOW)):
        with pytest.raises(IdentityError, match="swarmnode join <invite>, or: swarmnode init"):
            ask(beta)


def test_an_invite_from_the_future_blames_the_clock(alpha: Home, beta: Home) -> None:
    made = invite_from(alpha, now_ms=NOW + 3_600_000)
    with pytest.raises(IdentityError, match="begins in 3600 s: a clock is wrong"):
        enrol.join(beta, made, BOB, os.urandom, NOW)


def test_a_lost_key_is_not_told_as_no_network(alpha: Home) -> None:
    alpha.machine_key.unlink()
    with pytest.raises(IdentityError, match=r"restore it from a backup, or remove .*membership"):
        enrol.load_machine(alpha)


def invite_from(home: Home, grant: Grant | None = None, now_ms: int = NOW) -> Invite:
    peer = enrol.standing(home, False, now_ms).peer
    where = [f"/ip4/192.0.2.1/tcp/4850/p2p/{peer}"]
    made = enrol.make_invite(home, where, grant or Grant(), os.urandom, now_ms)
    return decode_invite(encode_invite(made), now_ms)


def contents(home: Home) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in sorted(home.state.rglob("*")) if path.is_file()
    }


def test_founding_writes_four_private_keys_and_a_membership(alpha: Home) -> None:
    assert {path.name for path in alpha.keys.iterdir()} == {
        "machine.key",
        "member.key",
        "lab.key",
        "network.key",
    }
    for path in (*alpha.keys.iterdir(), alpha.membership_file):
        assert path.stat().st_mode & 0o777 == 0o600
    me = enrol.standing(alpha, False, NOW).me
    assert me is not None
    assert (me.name, me.person_name, me.lab_name, me.can_invite) == (
        "alpha",
        "ann",
        "physics",
        True,
    )


def test_founding_again_changes_nothing(alpha: Home) -> None:
    before = contents(alpha)
    assert not enrol.found_network(alpha, ANN, os.urandom, NOW).changed
    with pytest.raises(IdentityError, match=f"in lab {ANN.lab} already"):
        enrol.found_network(alpha, BOB, os.urandom, NOW)
    assert contents(alpha) == before


def test_a_founding_cut_off_before_its_end_is_finished_with_the_same_keys(alpha: Home) -> None:
    peer = enrol.standing(alpha, False, NOW).peer
    network = enrol.load_membership(alpha).anchor.network
    alpha.membership_file.unlink()
    again = enrol.found_network(alpha, ANN, os.urandom, NOW)
    assert again.changed
    assert again.peer == peer
    assert again.membership is not None
    assert again.membership.anchor.network == network


def test_joining_makes_a_member_who_knows_whom_to_call(alpha: Home, beta: Home) -> None:
    invite = invite_from(alpha)
    joined = enrol.join(beta, invite, BOB, os.urandom, NOW)
    assert joined.changed
    assert joined.me is not None
    assert (joined.me.lab_name, joined.me.site, joined.me.roles) == (
        "physics",
        "room 2",
        ("storage",),
    )
    assert joined.membership is not None
    assert joined.membership.addresses == invite.addresses()
    assert not beta.lab_key.exists()
    assert invite.seed.hex() not in beta.membership_file.read_bytes().hex()


def test_joining_again_changes_nothing_until_the_membership_is_nearly_over(
    alpha: Home, beta: Home
) -> None:
    invite = invite_from(alpha)
    peer = enrol.join(beta, invite, BOB, os.urandom, NOW).peer
    before = contents(beta)
    assert not enrol.join(beta, invite, BOB, os.urandom, NOW).changed
    assert contents(beta) == before
    later_ms = NOW + 400 * DAY_MS
    assert enrol.standing(beta, False, later_ms).me is None
    renewed = enrol.join(beta, invite_from(alpha, now_ms=later_ms), BOB, os.urandom, later_ms)
    assert renewed.changed
    assert renewed.peer == peer
    assert renewed.me is not None


def test_another_invite_replaces_one_that_somebody_else_used_up(alpha: Home, beta: Home) -> None:
    first = enrol.join(beta, invite_from(alpha), BOB, os.urandom, NOW)
    other = invite_from(alpha)
    joined = enrol.join(beta, other, BOB, os.urandom, NOW)
    granted = other.grant()
    assert granted is not None
    assert first.me is not None
    assert joined.me is not None
    assert joined.changed
    assert joined.me.came_with is not None
    assert joined.me.came_with.invite == granted.invite
    assert (joined.peer, joined.me.person) == (first.peer, first.me.person)


def test_a_founder_who_pastes_an_invite_stays_the_founder(alpha: Home) -> None:
    before = contents(alpha)
    assert not enrol.join(alpha, invite_from(alpha), BOB, os.urandom, NOW).changed
    assert contents(alpha) == before


def test_one_home_belongs_to_one_network(alpha: Home, beta: Home, tmp_path: Path) -> None:
    other = locate({"SWARM_HOME": str(tmp_path / "other")})
    enrol.found_network(other, BOB, os.urandom, NOW)
    enrol.join(beta, invite_from(alpha), BOB, os.urandom, NOW)
    before = contents(beta)
    with pytest.raises(IdentityError, match="another SWARM_HOME"):
        enrol.join(beta, invite_from(other), BOB, os.urandom, NOW)
    with pytest.raises(IdentityError, match="another SWARM_HOME"):
        enrol.found_network(beta, BOB, os.urandom, NOW)
    assert contents(beta) == before


def test_a_second_machine_of_a_person_has_no_key_of_the_persons(alpha: Home, beta: Home) -> None:
    joined = enrol.join(beta, invite_from(alpha, Grant(own_machine=True)), BOB, os.urandom, NOW)
    assert joined.me is not None
    assert joined.me.person_name == "ann"
    assert {path.name for path in beta.keys.iterdir()} == {"machine.key"}
    with pytest.raises(IdentityError, match="member key, which is not on this machine"):
        invite_from(beta)


def test_a_home_with_a_key_of_its_own_becomes_no_machine_of_another_person(
    alpha: Home, beta: Home, tmp_path: Path
) -> None:
    enrol.join(beta, invite_from(alpha), BOB, os.urandom, NOW)
    before, anns = contents(beta), invite_from(alpha, Grant(own_machine=True))
    with pytest.raises(IdentityError, match=r"of another person .*member.key is yours"):
        enrol.join(beta, anns, BOB, os.urandom, NOW)
    assert contents(beta) == before
    blank = locate({"SWARM_HOME": str(tmp_path / "blank")})
    with pytest.raises(IdentityError, match=r"of another person .*the phrase is yours"):
        recover(blank, bytes(32), anns, BOB, os.urandom, NOW)
    assert not blank.state.exists()
    seed = load_key_file(alpha.member_key).seed()
    assert recover(blank, seed, anns, BOB, os.urandom, NOW).me is not None


def test_recovering_again_changes_nothing_until_all_is_back(
    alpha: Home, beta: Home, tmp_path: Path
) -> None:
    enrol.join(beta, invite_from(alpha), BOB, os.urandom, NOW)
    seed = load_key_file(beta.member_key).seed()
    blank = locate({"SWARM_HOME": str(tmp_path / "blank")})
    invite, another = invite_from(alpha), invite_from(alpha)
    given = Unnamed()
    first = recover(blank, seed, invite, BOB, os.urandom, NOW, given=given)
    before = contents(blank)
    again = recover(blank, seed, invite, BOB, os.urandom, NOW, given=given)
    assert (first.changed, again.changed) == (True, False)
    assert contents(blank) == before
    assert recover(blank, seed, another, BOB, os.urandom, NOW, given=given).changed
    note = read_unnamed(blank)
    assert note is not None
    assert note.invite, "what names them later signs with the newest invite"
    with pytest.raises(IdentityError, match="another person's"):
        recover(blank, bytes(32), None, BOB, os.urandom, NOW, addresses=[HERE])
    blank.recovering_file.unlink()
    with pytest.raises(IdentityError, match="and to you: swarmnode up"):
        recover(blank, seed, invite, BOB, os.urandom, NOW, given=given)


def test_a_founder_recovers_again_to_call_somebody_else(alpha: Home, tmp_path: Path) -> None:
    seed = load_key_file(alpha.member_key).seed()
    blank = locate({"SWARM_HOME": str(tmp_path / "blank")})
    other = HERE.replace("192.0.2.1", "192.0.2.2")
    for address, changed in ((HERE, True), (HERE, False), (other, True)):
        done = recover(blank, seed, None, ANN, os.urandom, NOW, addresses=[address])
        assert done.changed is changed
        assert done.membership is not None
        assert done.membership.addresses == (address,)


def test_what_was_cut_off_in_the_middle_of_a_key_is_removed_by_the_next_command(
    tmp_path: Path,
) -> None:
    home = locate({"SWARM_HOME": str(tmp_path / "n")})
    home.make()
    gone, lives = 2**22 + 1, os.getppid()  # no process has a number above that
    left = [home.keys / f".member.key.{gone}", home.state / f".recovering.{gone}"]
    under_way, other = home.keys / f".lab.key.{lives}", home.keys / ".notes"
    for file in (*left, under_way, other):
        file.write_bytes(b"seed")
    enrol.init_machine(home, os.urandom, NOW)
    assert not any(file.exists() for file in left)
    assert under_way.exists()
    assert other.exists()


def test_a_key_that_is_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = locate({"SWARM_HOME": str(tmp_path / "n")})
    home.make()

    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        enrol.init_machine(home, os.urandom, NOW)
    assert list(home.keys.iterdir()) == []


def test_an_address_that_is_none_makes_no_home(tmp_path: Path) -> None:
    blank = locate({"SWARM_HOME": str(tmp_path / "blank")})
    with pytest.raises(IdentityError, match="must look like"):
        recover(blank, bytes(32), None, BOB, os.urandom, NOW, addresses=["foo"])
    assert not blank.state.exists()


def test_the_names_of_a_membership_are_known_after_its_end_where_its_keys_lie(
    alpha: Home, beta: Home
) -> None:
    assert enrol.names_before(beta, NOW) == ("", "")
    assert enrol.names_before(alpha, NOW + 4000 * DAY_MS) == ("ann", "physics")
    enrol.join(beta, invite_from(alpha), BOB, os.urandom, NOW)
    assert enrol.names_before(beta, NOW + 400 * DAY_MS) == ("bob", "")
    beta.member_key.unlink()
    assert enrol.names_before(beta, NOW) == ("", "")


def test_a_new_lab_comes_in_with_keys_of_its_own(alpha: Home, beta: Home) -> None:
    joined = enrol.join(beta, invite_from(alpha, Grant(new_lab=True)), BOB, os.urandom, NOW)
    assert joined.me is not None
    assert (joined.me.lab_name, joined.me.can_invite) == ("chem", True)
    assert beta.lab_key.exists()
    assert not beta.network_key.exists()
    assert invite_from(beta)


def test_an_open_network_is_joined_by_invite_or_by_its_file(beta: Home, tmp_path: Path) -> None:
    founder = locate({"SWARM_HOME": str(tmp_path / "open")})
    found = enrol.found_network(founder, ANN, os.urandom, NOW, is_open=True)
    assert found.membership is not None
    open_invite = invite_from(founder, Grant(new_lab=True))
    assert not open_invite.seed
    assert enrol.join(beta, open_invite, BOB, os.urandom, NOW).me is not None
    file = tmp_path / "public.toml"
    address = f"/ip4/192.0.2.7/tcp/4850/p2p/{found.peer}"
    file.write_text(f'root = "{found.membership.anchor.root}"\nbootstrap = ["{address}"]\n')
    third = locate({"SWARM_HOME": str(tmp_path / "third")})
    joined = enrol.join(third, enrol.read_invite(str(file), NOW), BOB, os.urandom, NOW)
    assert joined.membership is not None
    assert joined.membership.anchor == found.membership.anchor
    assert joined.membership.addresses == (address,)


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        ('root = ""', "root"),
        ("root = '12D3KooWQXsHCiux3nNegHLpNafvZMSn9N3DEVPj4uiVSWUySTj5'", "bootstrap"),
    ],
)
def test_a_network_file_says_which_of_its_two_halves_is_still_empty(
    tmp_path: Path, text: str, empty: str
) -> None:
    file = tmp_path / "public.toml"
    file.write_text(f"{text}\nbootstrap = []\n")
    with pytest.raises(IdentityError, match=f"{empty} is empty: it must hold"):
        enrol.read_invite(str(file), NOW)


@pytest.mark.parametrize("text", ["", "root = 1", "root = 'x'", "[", "bootstrap = []"])
def test_a_file_that_describes_no_open_network_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "network.toml"
    file.write_text(text)
    with pytest.raises(IdentityError):
        enrol.read_invite(str(file), NOW)


def test_an_invite_somebody_tampered_with_creates_no_membership(alpha: Home, beta: Home) -> None:
    invite = invite_from(alpha)
    lab, guest = invite.certificates
    forged = Invite(invite.root, invite.contacts, False, (lab, lab, guest), invite.seed)
    with pytest.raises(IdentityError, match="proves nothing"):
        enrol.join(beta, forged, BOB, os.urandom, NOW)
    assert not beta.membership_file.exists()


def test_an_invite_key_that_is_not_the_certified_one_is_refused(alpha: Home, beta: Home) -> None:
    invite = invite_from(alpha)
    forged = Invite(invite.root, invite.contacts, False, invite.certificates, bytes(32))
    with pytest.raises(IdentityError, match="may not enrol"):
        enrol.join(beta, forged, BOB, os.urandom, NOW)
    assert not beta.membership_file.exists()


def test_a_late_invite_is_refused_before_any_file_is_made(alpha: Home, beta: Home) -> None:
    text = encode_invite(invite_from(alpha))
    with pytest.raises(InviteError) as caught:
        enrol.read_invite(text, NOW + 8 * DAY_MS)
    assert caught.value.part == "expired"
    assert not beta.state.exists()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"root": 1, "open": false, "token": "", "addresses": []}',
        b'{"root": "x", "open": false, "token": "!", "addresses": []}',
    ],
)
def test_a_damaged_membership_is_named_with_what_to_do(alpha: Home, damage: bytes) -> None:
    alpha.membership_file.write_bytes(damage)
    with pytest.raises(IdentityError):
        enrol.load_membership(alpha)


def test_a_membership_for_another_machines_key_is_noticed(alpha: Home) -> None:
    alpha.machine_key.unlink()
    alpha.lab_key.rename(alpha.machine_key)
    with pytest.raises(IdentityError, match="remove it and join again"):
        enrol.standing(alpha, False, NOW)


def test_the_membership_file_is_readable_by_people(alpha: Home) -> None:
    kept = json.loads(alpha.membership_file.read_text())
    assert set(kept) == {"network", "root", "open", "token", "addresses"}


def test_a_founder_whose_time_is_up_renews_itself_and_whoever_was_invited_does_not(
    alpha: Home, beta: Home
) -> None:
    enrol.join(beta, invite_from(alpha), BOB, os.urandom, NOW)
    late = NOW + 3651 * DAY_MS
    renewed = enrol.renewed_here(alpha, enrol.load_membership(alpha), late, os.urandom)
    me = enrol.whoami(renewed, enrol.load_machine(alpha), late)
    assert (me.name, me.lab_name) == ("alpha", "physics")
    assert enrol.load_membership(alpha) == renewed
    before = enrol.load_membership(beta)
    assert enrol.renewed_here(beta, before, late, os.urandom) == before
    said = str(enrol.not_a_member(before, AdmissionError("expired", "MachineCert ended 1 s ago")))
    assert "this machine's membership ended on 2028-01-15 08:00 UTC: ask a member" in said
