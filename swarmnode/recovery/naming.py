"""What a person is called after `recover`: their phrase does not say it, their copies do.

recover without --person   login name in the certificates, and a note of what signed them
the copies are back        the same certificates with the name in the copies
"""

import json
import logging
from typing import Final

from p2p.errors import AdmissionError, IdentityError
from p2p.identity.invites import Invite, decode_invite, encode_invite
from p2p.identity.issue import Names, accept, found
from p2p.identity.keys import KeySigner
from p2p.identity.private_files import read_private_file, replace_private_file
from p2p.identity.records import MembershipToken
from swarmnode.home import enrol
from swarmnode.home.folders import Home

_INVITE: Final = "invite"
log = logging.getLogger("swarm.recovery")


def note_unnamed(home: Home, invite: Invite | None) -> None:
    """The person's name is to come from their copies; `invite` signed them in, if one did.

    It is kept, in a private file, until then. Raises IdentityError.
    """
    text = "" if invite is None else encode_invite(invite)
    replace_private_file(home.recovering_file, json.dumps({_INVITE: text}).encode())


def is_unnamed(home: Home) -> bool:
    """Whether the name in the certificates is that of a login."""
    return home.recovering_file.exists() and bool(read_private_file(home.recovering_file))


def names_here(home: Home, now_ms: int) -> tuple[str, str]:
    """What person, and lab if its key is here, are called; empty while that is to be learnt."""
    try:
        return ("", "") if is_unnamed(home) else enrol.names_before(home, now_ms)
    except IdentityError:  # the start says what is wrong with the files
        return "", ""


def named(home: Home, person: str, lab: str, now_ms: int) -> MembershipToken | None:
    """Our certificates with these names; None where those that are here stay.

    They stay, and the log says so, where the copies say no name, or what signed them has ended.
    """
    if not is_unnamed(home):
        return None
    membership = enrol.load_membership(home)
    try:
        keys = enrol.load_keys(home)
        me = enrol.whoami(membership, keys.machine, now_ms)
        if not person:
            log.warning("no copy says what you were called: from now on it is %s", me.member_name)
            return None
        if (person, lab or me.lab_name) == (me.member_name, me.lab_name):
            return None
        names = Names(me.name, person, lab or me.lab_name, me.site, me.roles)
        text = json.loads(read_private_file(home.recovering_file))[_INVITE]
        given = decode_invite(text, now_ms) if text else None
        if given is None or given.grant() is None:
            return found(membership.anchor, keys, names, now_ms)
        key = KeySigner.from_seed(given.seed)
        return accept(membership.anchor, given.certificates, key, keys, names, now_ms)
    except (IdentityError, AdmissionError, ValueError, KeyError, TypeError) as exc:
        log.warning("you cannot be called %s again: %s", person, exc)
        return None
