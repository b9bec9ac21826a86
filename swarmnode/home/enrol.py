"""Founding a network, inviting and joining: the files of a home, written once, found again.

All of it is offline. What is repeated changes nothing and says so; membership.json is written last,
so that a crash in between leaves keys and no half membership.
"""

import base64
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from p2p.errors import AdmissionError, IdentityError, WireError
from p2p.identity.admission import Admitted, Anchor, Clocks, check_token
from p2p.identity.invites import Invite, contacts_of, decode_invite, encode_invite
from p2p.identity.issue import DAY_MS, Grant, Keys, Names, accept, found
from p2p.identity.issue import invite as certify_invite
from p2p.identity.key_files import create_key_file, load_key_file
from p2p.identity.keys import SEED_BYTES, KeySigner, network_id_of
from p2p.identity.private_files import read_private_file, replace_private_file
from p2p.identity.records import InviteCert, MembershipToken, decode_token, encode_token
from p2p.identity.renew import Applicant, renew_own
from p2p.ids import LabId, PeerId, PersonId
from swarmnode.home import membership_end
from swarmnode.home.folders import Home
from swarmnode.home.unnamed import sign_later_with

RENEW_WITHIN_MS: Final = 30 * DAY_MS
"""A membership that ends sooner than this is renewed by the next invite."""
_NO_NETWORK: Final = (
    "this machine belongs to no network: swarmnode join <invite>, or: swarmnode init --new-network"
)

Entropy = Callable[[int], bytes]


class Enrolment(msgspec.Struct, frozen=True):
    """What a machine knows of its network before it has met anybody."""

    anchor: Anchor
    token: MembershipToken
    addresses: tuple[str, ...]
    """Where to call first: those of the invite."""


class Enrolled(msgspec.Struct, frozen=True):
    """What init and join report."""

    changed: bool
    peer: PeerId
    membership: Enrolment | None
    me: Admitted | None
    """Who we are in the network; None without one, or when the certificates have ended."""
    files: tuple[Path, ...]


def init_machine(home: Home, entropy: Entropy, now_ms: int) -> Enrolled:
    """Create the machine's key where it is missing. Raises IdentityError."""
    home.make()
    changed = not home.machine_key.exists()
    key_in(home.machine_key, entropy)
    return standing(home, changed, now_ms)


def found_network(
    home: Home, names: Names, entropy: Entropy, now_ms: int, *, is_open: bool = False
) -> Enrolled:
    """Create a network with this machine as its first member.

    Raises IdentityError when this home already belongs to another network or lab.
    """
    home.make()
    if home.membership_file.exists():
        _check_founded_here(home)
        enrolled = standing(home, False, now_ms)
        if enrolled.me is not None and enrolled.me.lab_name != names.lab:
            raise IdentityError(
                f"this machine is in lab {enrolled.me.lab_name} already, and nothing was changed: "
                "use another SWARM_HOME for another lab"
            )
        return enrolled
    person = key_in(home.member_key, entropy)
    network = _founders(home.network_key, person, "network")
    keys = Keys(
        machine=key_in(home.machine_key, entropy),
        person=person,
        lab=_founders(home.lab_key, person, "lab"),
        network=network,
    )
    anchor = Anchor(network_id_of(network.peer_id), network.peer_id, is_open)
    token = found(anchor, keys, names, now_ms)
    save_membership(home, Enrolment(anchor, token, ()))
    return standing(home, True, now_ms)


def _check_founded_here(home: Home) -> None:
    membership, ours = load_membership(home), load_keys(home).network
    if ours is None or ours.peer_id != membership.anchor.root:
        raise IdentityError(
            f"this machine already belongs to network {membership.anchor.network}, founded "
            "elsewhere: use another SWARM_HOME for a second one"
        )


def make_invite(
    home: Home, addresses: Sequence[str], grant: Grant, entropy: Entropy, now_ms: int
) -> Invite:
    """An invite from this machine's owner. Raises IdentityError when they may not give it."""
    membership = load_membership(home)
    contacts = contacts_of(addresses)
    if not contacts:
        raise IdentityError("an invite needs an address to call: give one with --address")
    anchor = membership.anchor
    if anchor.is_open and grant.new_lab:
        return Invite(anchor.root, contacts, is_open=True)
    seed = entropy(SEED_BYTES)
    keys, key = load_keys(home), KeySigner.from_seed(seed)
    try:
        certificates = certify_invite(anchor, keys, membership.token, grant, key, now_ms)
    except AdmissionError as exc:
        raise not_a_member(membership, exc) from exc
    return Invite(anchor.root, contacts, anchor.is_open, certificates, seed)


def read_invite(argument: str, now_ms: int) -> Invite:
    """An invite from its string, or from the file of an open network (TOML: root, bootstrap).

    Raises InviteError, and IdentityError when the file is no such file or lacks one of the two.
    """
    if not argument.endswith(".toml"):
        return decode_invite(argument, now_ms)
    root, addresses = _open_network(argument)
    for name, value, what in (
        ("root", root, "the network's id, which `swarmnode init --new-network --open` printed"),
        ("bootstrap", addresses, "the address of a node that runs, ending in /p2p/12D3KooW..."),
    ):
        if not value:
            raise IdentityError(f"{argument}: {name} is empty: it must hold {what}")
    network_id_of(root)
    return Invite(root, contacts_of(addresses), is_open=True)


def _open_network(file_name: str) -> tuple[PeerId, list[str]]:
    """Its root and whom to call. Raises IdentityError."""
    try:
        with open(file_name, "rb") as file:
            network = tomllib.load(file)
        root = PeerId(str(network["root"]))
        return root, [str(address) for address in network.get("bootstrap", ())]
    except OSError as exc:
        raise IdentityError(f"cannot read {file_name}: {exc.strerror}") from exc
    except (ValueError, TypeError, KeyError) as exc:
        raise IdentityError(f"{file_name} describes no open network: it needs root = ...") from exc


def join(home: Home, invite: Invite, names: Names, entropy: Entropy, now_ms: int) -> Enrolled:
    """Use an invite: create keys, sign our certificates, remember whom to call.

    The same invite again changes nothing; another one replaces the one we came with, since ours
    may have been used up by somebody else before we were let in. Who came with none stays as is.

    Raises IdentityError when this home belongs to another network or the invite proves nothing.
    """
    if home.member_key.exists():
        check_whose(invite, load_key_file(home.member_key).peer_id, str(home.member_key))
    home.make()
    if home.membership_file.exists() and not _is_wanted(home, invite, now_ms):
        return standing(home, False, now_ms)
    granted = invite.grant()
    keys = _keys_for(granted, home, entropy)
    if granted is None:
        token = found(invite.anchor, keys, names, now_ms)
    else:
        invite_key = KeySigner.from_seed(invite.seed)
        token = accept(invite.anchor, invite.certificates, invite_key, keys, names, now_ms)
    sign_later_with(home, encode_invite(invite))
    save_membership(home, Enrolment(invite.anchor, token, invite.addresses()))
    return standing(home, True, now_ms)


def check_whose(invite: Invite, person: PeerId, where: str) -> None:
    """A machine of somebody else with our key would keep under their name what is ours."""
    granted = invite.grant()
    if granted is not None and granted.owner and granted.owner != PersonId(person):
        raise IdentityError(
            "the invite is for one more machine of another person (it was made with "
            f"--own-machine), and {where} is yours: ask for an invite without it, or use "
            "another SWARM_HOME"
        )


def _keys_for(granted: InviteCert | None, home: Home, entropy: Entropy) -> Keys:
    """Those that whoever joins with that grant, or an open network, brings."""
    brings_lab = granted is None or granted.new_lab
    brings_person = granted is None or not granted.owner
    return Keys(
        machine=key_in(home.machine_key, entropy),
        person=key_in(home.member_key, entropy) if brings_person else None,
        lab=key_in(home.lab_key, entropy) if brings_lab else None,
    )


def names_before(home: Home, now_ms: int) -> tuple[str, str]:
    """What our person, and the lab we founded, are called in the membership this home has.

    Also in one that has ended; empty where our keys are not here. Raises IdentityError.
    """
    if not home.membership_file.exists():
        return "", ""
    membership = load_membership(home)
    ends_ms = min(cert.expires_ms for cert in membership.token.certificates)
    try:
        me = whoami(membership, load_machine(home), min(now_ms, ends_ms))
    except AdmissionError:
        return "", ""
    keys = load_keys(home)
    person = me.person_name if keys.person and PersonId(keys.person.peer_id) == me.person else ""
    return person, me.lab_name if keys.lab and LabId(keys.lab.peer_id) == me.lab else ""


def _is_wanted(home: Home, invite: Invite, now_ms: int) -> bool:
    """True if the invite gives more than our membership, which ends soon or came with another."""
    now = load_membership(home)
    if now.anchor != invite.anchor:
        raise IdentityError(
            f"this machine already belongs to network {now.anchor.network}, the invite is to "
            f"{invite.anchor.network}: use another SWARM_HOME for a second one"
        )
    me = standing(home, False, now_ms).me
    if me is None or me.expires_ms - now_ms < RENEW_WITHIN_MS:
        return True
    granted = invite.grant()
    return (
        granted is not None and me.came_with is not None and me.came_with.invite != granted.invite
    )


def standing(home: Home, changed: bool, now_ms: int) -> Enrolled:
    """Who this machine is, from its files. Raises IdentityError when they are damaged."""
    machine = load_machine(home)
    membership = load_membership(home) if home.membership_file.exists() else None
    me = None if membership is None else _me_in(membership, machine, home, now_ms)
    paths = (
        home.config_file,
        home.machine_key,
        home.member_key,
        home.lab_key,
        home.network_key,
        home.membership_file,
    )
    return Enrolled(changed, machine.peer_id, membership, me, tuple(p for p in paths if p.exists()))


def whoami(membership: Enrolment, machine: KeySigner, now_ms: int) -> Admitted:
    """What our token proves. Raises AdmissionError, as it would for a peer."""
    return check_token(
        membership.token, machine.peer_id, membership.anchor, machine, Clocks(now_ms)
    )


def _me_in(membership: Enrolment, machine: KeySigner, home: Home, now_ms: int) -> Admitted | None:
    """None when the membership has ended. Raises IdentityError when it was never good."""
    try:
        return whoami(membership, machine, now_ms)
    except AdmissionError as exc:
        if exc.code == "expired":
            return None
        raise IdentityError(
            f"{home.membership_file} is invalid ({exc.detail}): "
            "remove it and join again with an invite"
        ) from exc


def renewed_here(home: Home, membership: Enrolment, now_ms: int, entropy: Entropy) -> Enrolment:
    """The membership, renewed where it has ended and the keys that lie here may do that.

    Raises IdentityError. What the founder of a lab certified for itself needs nobody else.
    """
    ends_ms = min(cert.expires_ms for cert in membership.token.certificates)
    if membership.anchor.is_open or now_ms < ends_ms:
        return membership
    keys = load_keys(home)
    try:
        who = whoami(membership, keys.machine, ends_ms)
    except AdmissionError:
        return membership  # it was never good: the start says so
    old = Applicant(membership.token, who, keys.lab is not None)
    token = renew_own(membership.anchor, old, keys, now_ms, entropy)
    if token is None:
        return membership
    renewed = Enrolment(membership.anchor, token, membership.addresses)
    save_membership(home, renewed)
    return renewed


def not_a_member(membership: Enrolment, why: AdmissionError) -> IdentityError:
    """The error of a machine whose own certificates prove nothing any more."""
    if why.code == "expired" and "ended" in why.detail:
        ends_ms = min(cert.expires_ms for cert in membership.token.certificates)
        return IdentityError(membership_end.has_ended(ends_ms))
    remedy = "" if why.code in ("expired", "clock") else f": {membership_end.REMEDY}"
    return IdentityError(f"this machine's membership is not valid: {why.detail}{remedy}")


def load_machine(home: Home) -> KeySigner:
    """This machine's key. Raises IdentityError that says how to get or mend one."""
    if not home.machine_key.exists():
        if not home.membership_file.exists():
            raise IdentityError(_NO_NETWORK)
        raise IdentityError(
            f"{home.machine_key} is missing: restore it from a backup, or remove "
            f"{home.membership_file} and join again with an invite"
        )
    return load_key_file(home.machine_key)


def load_keys(home: Home) -> Keys:
    """All keys of this home. Raises IdentityError."""
    return Keys(
        machine=load_key_file(home.machine_key),
        person=load_key_file(home.member_key) if home.member_key.exists() else None,
        lab=load_key_file(home.lab_key) if home.lab_key.exists() else None,
        network=load_key_file(home.network_key) if home.network_key.exists() else None,
    )


def load_membership(home: Home) -> Enrolment:
    """Read membership.json. Raises IdentityError naming the remedy."""
    path = home.membership_file
    if not path.exists():
        raise IdentityError(_NO_NETWORK)
    try:
        kept = json.loads(read_private_file(path))
        root = PeerId(str(kept["root"]))
        anchor = Anchor(network_id_of(root), root, kept["open"] is True)
        token = decode_token(base64.b64decode(kept["token"], validate=True))
        addresses = tuple(str(address) for address in kept["addresses"])
    except (ValueError, TypeError, KeyError, WireError) as exc:
        raise IdentityError(
            f"{path} is damaged ({exc}): remove it and join again with an invite"
        ) from exc
    return Enrolment(anchor, token, addresses)


def save_membership(home: Home, membership: Enrolment) -> None:
    """Write membership.json over an older one. Raises IdentityError."""
    kept = {
        "network": membership.anchor.network,
        "root": membership.anchor.root,
        "open": membership.anchor.is_open,
        "token": base64.b64encode(encode_token(membership.token)).decode(),
        "addresses": list(membership.addresses),
    }
    replace_private_file(home.membership_file, json.dumps(kept, indent=1).encode() + b"\n")


def key_in(path: Path, entropy: Entropy) -> KeySigner:
    return load_key_file(path) if path.exists() else create_key_file(path, entropy(SEED_BYTES))


def _founders(path: Path, person: KeySigner, what: str) -> KeySigner:
    """The key of what a person founded, made from the person's own: the phrase brings it back."""
    if path.exists():
        return load_key_file(path)
    context = f"swarm {what} key of its founder 1"
    return create_key_file(path, blake3(person.seed(), derive_key_context=context).digest())
