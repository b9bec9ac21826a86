"""What a person is called after `recover`: their phrase does not say it, their copies do.

recover without --person   login name in the certificates, and a note of what signed them
the copies are back        the same certificates with the name in the copies
"""

import logging

from p2p.errors import AdmissionError, IdentityError
from p2p.identity.invites import decode_invite
from p2p.identity.issue import Names, accept, found
from p2p.identity.keys import KeySigner
from p2p.identity.records import MembershipToken
from swarmnode.home import enrol
from swarmnode.home.folders import Home
from swarmnode.home.unnamed import Unnamed, read_unnamed

log = logging.getLogger("swarm.recovery")


def names_here(home: Home, now_ms: int) -> tuple[str, str]:
    """What person, and lab if its key is here, are called; empty while that is to be learnt."""
    try:
        person, lab = enrol.names_before(home, now_ms)
        note = read_unnamed(home)
    except IdentityError:  # the start says what is wrong with the files
        return "", ""
    if note is None:
        return person, lab
    return person if note.person else "", lab if note.lab else ""


def named(home: Home, person: str, lab: str, now_ms: int) -> MembershipToken | None:
    """Our certificates with these names, or those that were given; None where they stay.

    They stay, and the log says so, where the copies say no name, or what signed them has ended.
    """
    try:
        note = read_unnamed(home)
        return None if note is None else _named(home, note, person, lab, now_ms)
    except (IdentityError, AdmissionError, ValueError) as exc:
        log.warning("you cannot be called %s again: %s", person, exc)
        return None


def _named(home: Home, note: Unnamed, person: str, lab: str, now_ms: int) -> MembershipToken | None:
    membership, keys = enrol.load_membership(home), enrol.load_keys(home)
    me = enrol.whoami(membership, keys.machine, now_ms)
    person, lab = note.person or person, note.lab or lab or me.lab_name
    if not person:
        log.warning("no copy says what you were called: from now on it is %s", me.person_name)
        return None
    if (person, lab) == (me.person_name, me.lab_name):
        return None
    names = Names(me.name, person, lab, me.site, me.roles)
    given = decode_invite(note.invite, now_ms) if note.invite else None
    if given is None or given.grant() is None:
        return found(membership.anchor, keys, names, now_ms)
    key = KeySigner.from_seed(given.seed)
    return accept(membership.anchor, given.certificates, key, keys, names, now_ms)
