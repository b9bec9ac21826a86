"""Becoming oneself again on a blank home: the person's key from their phrase, and a membership.

What is theirs the node brings back later (swarmnode.recovery): a file of the home says so until it
has. While that is there the same may be asked for again, and changes nothing.
"""

from collections.abc import Sequence
from typing import Final

from p2p.errors import IdentityError
from p2p.identity.invites import Contact, Invite, contacts_of
from p2p.identity.issue import Names
from p2p.identity.key_files import load_key_file
from p2p.identity.keys import KeySigner
from p2p.identity.private_files import replace_private_file
from swarmnode.home.enrol import (
    Enrolled,
    Enrolment,
    Entropy,
    check_whose,
    found_network,
    join,
    key_in,
    load_membership,
    save_membership,
    standing,
)
from swarmnode.home.folders import Home
from swarmnode.home.unnamed import Unnamed, write_unnamed

_BLANK: Final = "recover into a blank one (another SWARM_HOME)"


def recover(
    home: Home,
    seed: bytes,
    invite: Invite | None,
    names: Names,
    entropy: Entropy,
    now_ms: int,
    *,
    addresses: Sequence[str] = (),
    is_open: bool = False,
    given: Unnamed | None = None,
) -> Enrolled:
    """Make this blank home the person's whose key has this seed; the node brings back the rest.

    With an invite of anybody in the same lab; who founded the network needs none, but addresses.
    `given`: those of the `names` that the copies are not to change; None: all of them.
    Raises IdentityError, and when the home belongs to somebody already.
    """
    person, contacts = KeySigner.from_seed(seed), contacts_of(addresses)
    if invite is not None:
        check_whose(invite, person.peer_id, "the phrase")
    home.make()
    _claim(home, person, seed, given)
    if invite is not None:
        return join(home, invite, names, entropy, now_ms)
    founded = found_network(home, names, entropy, now_ms, is_open=is_open)
    return _calling(home, contacts, founded.changed, now_ms)


def _calling(home: Home, contacts: tuple[Contact, ...], changed: bool, now_ms: int) -> Enrolled:
    """Who founded the network is told by no invite whom to call first."""
    made = load_membership(home)
    known = Invite(made.anchor.root, contacts).addresses()
    if known != made.addresses:
        save_membership(home, Enrolment(made.anchor, made.token, known))
    return standing(home, changed or known != made.addresses, now_ms)


def _claim(home: Home, person: KeySigner, seed: bytes, given: Unnamed | None) -> None:
    """A blank home becomes that person's. Raises IdentityError for one that is somebody's."""
    if home.member_key.exists() and load_key_file(home.member_key).peer_id != person.peer_id:
        raise IdentityError(f"{home.member_key} is another person's: use another SWARM_HOME")
    if not home.membership_file.exists():
        key_in(home.member_key, lambda _length: seed)
        replace_private_file(home.recovering_file, b"")
        if given is not None and not given.is_complete:
            write_unnamed(home, given)
    elif not (home.member_key.exists() and home.recovering_file.exists()):
        raise IdentityError(_in_use(home))


def _in_use(home: Home) -> str:
    """Why this home is none to recover into; nothing waits to be brought back to it."""
    network = load_membership(home).anchor.network
    if not home.member_key.exists():
        return f"this home belongs to network {network} already: {_BLANK}"
    return (
        f"this home belongs to network {network} already, and to you: swarmnode up. For what "
        f"other machines of yours have left, {_BLANK}"
    )
