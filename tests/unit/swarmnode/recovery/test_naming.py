"""What somebody who came back by their phrase is called, as members see it."""

import os
from pathlib import Path

import pytest

from p2p.errors import IdentityError
from p2p.identity.admission import Admitted
from p2p.identity.invites import Invite, decode_invite, encode_invite
from p2p.identity.issue import Grant, Names
from p2p.identity.key_files import load_key_file
from swarmnode.home import enrol
from swarmnode.home.folders import Home, locate
from swarmnode.home.recover import recover
from swarmnode.home.unnamed import Unnamed, read_unnamed
from swarmnode.recovery.naming import named, names_here

NOW = 1_800_000_000_000
LOGIN = Names("box", "login", "login-lab")


def home_at(path: Path) -> Home:
    return locate({"SWARM_HOME": str(path)})


@pytest.fixture
def alpha(tmp_path: Path) -> Home:
    home = home_at(tmp_path / "alpha")
    enrol.found_network(home, Names("alpha", "ann", "physics"), os.urandom, NOW)
    return home


def invite_from(home: Home) -> Invite:
    peer = enrol.standing(home, False, NOW).peer
    where = [f"/ip4/192.0.2.1/tcp/4850/p2p/{peer}"]
    made = enrol.make_invite(home, where, Grant(), os.urandom, NOW)
    return decode_invite(encode_invite(made), NOW)


def renamed(home: Home, person: str, lab: str) -> Admitted:
    """Who the home is once the copies have said what person and lab were called."""
    token = named(home, person, lab, NOW)
    membership = enrol.load_membership(home)
    if token is not None:
        membership = enrol.Enrolment(membership.anchor, token, membership.addresses)
    return enrol.whoami(membership, enrol.load_machine(home), NOW)


def test_another_invite_that_replaces_the_first_signs_the_name_as_well(
    alpha: Home, tmp_path: Path
) -> None:
    """The first may have been used up by somebody else: nobody lets in who comes with it."""
    blank, used, fresh = home_at(tmp_path / "blank"), invite_from(alpha), invite_from(alpha)
    recover(blank, bytes(32), used, LOGIN, os.urandom, NOW, given=Unnamed())
    assert enrol.join(blank, fresh, LOGIN, os.urandom, NOW).changed
    me, granted = renamed(blank, "bob", ""), fresh.grant()
    assert me.person_name == "bob"
    assert me.came_with is not None
    assert granted is not None
    assert me.came_with.invite == granted.invite


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Unnamed(), ("ann", "physics")),
        (Unnamed(person="anna"), ("anna", "physics")),
        (Unnamed(lab="optics"), ("ann", "optics")),
        (None, ("anna", "optics")),
    ],
)
def test_only_the_names_that_were_not_given_come_from_the_copies(
    alpha: Home, tmp_path: Path, given: Unnamed | None, expected: tuple[str, str]
) -> None:
    """The founder's machine has the lab's key: what it calls the lab, everybody sees."""
    blank, seed = home_at(tmp_path / "blank"), load_key_file(alpha.member_key).seed()
    person = "anna" if given is None or given.person else "login"
    lab = "optics" if given is None or given.lab else "login-lab"
    address = f"/ip4/192.0.2.1/tcp/4850/p2p/{enrol.load_machine(alpha).peer_id}"
    recover(
        blank, seed, None, Names("box", person, lab), os.urandom, NOW,
        addresses=[address], given=given,
    )  # fmt: skip
    known = names_here(blank, NOW)
    assert known == (
        person if given is None or given.person else "",
        lab if given is None or given.lab else "",
    )
    me = renamed(blank, "ann", "physics")
    assert (me.person_name, me.lab_name) == expected


def test_a_join_that_recovers_nothing_leaves_no_note(alpha: Home, tmp_path: Path) -> None:
    beta = home_at(tmp_path / "beta")
    enrol.join(beta, invite_from(alpha), LOGIN, os.urandom, NOW)
    assert read_unnamed(beta) is None
    assert not beta.recovering_file.exists()


@pytest.mark.parametrize("text", ["[]", "{", '"x"', "7"])
def test_a_damaged_note_is_named(alpha: Home, text: str) -> None:
    alpha.recovering_file.write_text(text)
    alpha.recovering_file.chmod(0o600)
    with pytest.raises(IdentityError, match="recovering is damaged"):
        read_unnamed(alpha)
    assert names_here(alpha, NOW) == ("", "")
