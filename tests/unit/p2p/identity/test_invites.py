"""Invite strings: what is in them, and which part of a bad one is named."""

import base64

import pytest
from blake3 import blake3

from p2p.errors import IdentityError, InviteError
from p2p.identity.invites import (
    Contact,
    Invite,
    contacts_of,
    decode_invite,
    encode_invite,
    split_address,
)
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.records import InviteCert, certify
from p2p.ids import LabId
from p2p.limits import CLOCK_SKEW_MAX_MS, INVITE_CHARS_MAX
from p2p.wire.codec import encode

NOW = 1_800_000_000_000
ROOT, GUEST = KeySigner.from_seed(bytes(32)), KeySigner.from_seed(b"g" * 32)
ADDRESSES = (
    f"/ip4/192.0.2.1/tcp/4850/p2p/{ROOT.peer_id}",
    f"/dns4/node.example.org/tcp/443/p2p/{GUEST.peer_id}",
    f"/ip6/2001:db8::1/tcp/4850/p2p/{ROOT.peer_id}",
)


def an_invite(join_by_ms: int = NOW + 1000) -> Invite:
    cert = InviteCert(GUEST.peer_id, LabId(ROOT.peer_id), 1, join_by_ms)
    network = network_id_of(ROOT.peer_id)
    sealed = certify(ROOT, network, cert, issued_ms=NOW, expires_ms=NOW + 10**9)
    return Invite(ROOT.peer_id, contacts_of(ADDRESSES), False, (sealed,), GUEST.seed())


def part_of(text: str, now_ms: int = NOW) -> str:
    with pytest.raises(InviteError) as caught:
        decode_invite(text, now_ms)
    return caught.value.part


def test_an_invite_comes_back_as_it_was_given() -> None:
    invite = an_invite()
    back = decode_invite(encode_invite(invite), NOW)
    assert back == invite
    assert back.addresses() == (ADDRESSES[0], ADDRESSES[2], ADDRESSES[1])
    assert back.anchor.network == network_id_of(ROOT.peer_id)


def test_blanks_and_line_breaks_from_copying_do_no_harm() -> None:
    text = encode_invite(an_invite())
    folded = " " + "\n  ".join(text[at : at + 70] for at in range(0, len(text), 70)) + "\r\n"
    assert decode_invite(folded, NOW) == an_invite()


def test_each_damage_is_called_by_its_name() -> None:
    text = encode_invite(an_invite())
    assert part_of(text[:-1]) == "truncated"
    assert part_of("swarm1") == "truncated"
    assert part_of(text[: len(text) // 2]) == "truncated"
    assert part_of(text[:300] + ("a" if text[300] != "a" else "b") + text[301:]) == "checksum"
    assert part_of(text + "aaaa") == "format"
    assert part_of(text.replace("swarm1", "", 1)) == "format"
    assert part_of("hello") == "format"
    assert part_of("") == "format"
    assert part_of(text[:50] + "!" + text[51:]) == "format"
    assert part_of("swarm1" + "a" * INVITE_CHARS_MAX) == "format"


def test_a_late_invite_is_expired_after_two_minutes_of_grace() -> None:
    text = encode_invite(an_invite(join_by_ms=NOW))
    assert decode_invite(text, NOW + CLOCK_SKEW_MAX_MS)
    assert part_of(text, NOW + CLOCK_SKEW_MAX_MS + 1) == "expired"


def wrapped(content: bytes) -> str:
    whole = len(content).to_bytes(2) + content + blake3(content).digest(4)
    return "swarm1" + base64.b32encode(whole).decode().rstrip("=").lower()


@pytest.mark.parametrize(
    "invite",
    [
        Invite(ROOT.peer_id, ()),
        Invite(ROOT.peer_id, (), False, an_invite().certificates, b"short"),
        Invite(ROOT.peer_id, (), False, (), GUEST.seed()),
        Invite(ROOT.peer_id[:-1], (), True),  # type: ignore[arg-type]
        Invite(ROOT.peer_id, (Contact(ROOT.peer_id, ("/ip4/1.2.3.4/tcp/0",)),), True),
        Invite(ROOT.peer_id, (Contact(ROOT.peer_id, ("/ip4/1.2.3.4/tcp/1",) * 5),), True),
        Invite(ROOT.peer_id, (Contact(ROOT.peer_id, ("\x1b[2J",)),), True),
    ],
)
def test_a_well_formed_string_with_senseless_content_is_refused(invite: Invite) -> None:
    assert part_of(wrapped(encode(invite))) == "content"


@pytest.mark.parametrize("content", [b"", b"\x90", b"\xc0", b"\xdd\xff\xff\xff\xff", b"\x9f" * 400])
def test_a_right_checksum_over_junk_is_refused(content: bytes) -> None:
    assert part_of(wrapped(content)) == "content"


def test_an_invite_to_an_open_network_needs_no_key() -> None:
    invite = Invite(ROOT.peer_id, contacts_of(ADDRESSES[:1]), is_open=True)
    assert decode_invite(encode_invite(invite), NOW).anchor.is_open


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/ip4/192.0.2.1/tcp/4850",
        f"/ip4/192.0.2.1/udp/4850/p2p/{ROOT.peer_id}",
        f"/ip4/192.0.2.1/tcp/70000/p2p/{ROOT.peer_id}",
        f"/ip4/192.0.2.1/tcp/4850/p2p/{ROOT.peer_id}x",
        f"192.0.2.1:4850/p2p/{ROOT.peer_id}",
    ],
)
def test_an_address_nobody_could_dial_is_refused(address: str) -> None:
    with pytest.raises(IdentityError):
        split_address(address)
