"""What a token proves of a machine that was never met."""

import msgspec
import pytest
from msgspec.structs import replace

from p2p.errors import WireError
from p2p.host.admission.exchange import TokenAdmission
from p2p.host.admission.proofs import TokenProofs
from p2p.identity.issue import DAY_MS
from p2p.identity.proofs import token_for_presence
from p2p.identity.records import TOKEN_BYTES_MAX, MembershipToken, encode_token
from p2p.ids import PeerId
from p2p.limits import PRESENCE_TOKEN_BYTES_MAX
from tests.admission_lab import ALICE, ALICES, BOB, BOBS, NOW, admission, removal

BOBS_TOKEN = encode_token(BOBS)


def proofs(now_ms: int = NOW) -> tuple[TokenAdmission, TokenProofs]:
    door = admission(ALICE, ALICES, lambda: now_ms)
    return door, TokenProofs(door)


def test_a_token_proves_whose_a_machine_is() -> None:
    _, seen = proofs()
    for _ in range(2):  # checked, then remembered
        who = seen.whose(BOB.peer_id, BOBS_TOKEN)
        assert who is not None
        assert (who.name, who.person_name, who.lab_name) == ("beta", "bo", "physics")
        assert (who.peer, who.is_me) == (BOB.peer_id, False)
    assert seen.me().name == "alpha"
    assert seen.me().is_me
    assert seen.token() == encode_token(ALICES)


@pytest.mark.parametrize(
    ("peer", "token"),
    [
        (ALICE.peer_id, BOBS_TOKEN),  # another's
        (BOB.peer_id, BOBS_TOKEN[:-1] + bytes([BOBS_TOKEN[-1] ^ 1])),
        (BOB.peer_id, b"nothing"),
        (BOB.peer_id, bytes(TOKEN_BYTES_MAX + 1)),
        (PeerId("somebody"), BOBS_TOKEN),
    ],
)
def test_a_token_that_never_was_good_is_a_wire_error(peer: PeerId, token: bytes) -> None:
    with pytest.raises(WireError):
        proofs()[1].whose(peer, token)


def test_a_token_that_has_ended_proves_nothing_any_more() -> None:
    assert proofs(NOW + 31 * DAY_MS)[1].whose(BOB.peer_id, BOBS_TOKEN) is None
    clock = [NOW]
    door = admission(ALICE, ALICES, lambda: clock[0])
    seen = TokenProofs(door)
    assert seen.whose(BOB.peer_id, BOBS_TOKEN) is not None
    clock[0] += 31 * DAY_MS
    assert seen.whose(BOB.peer_id, BOBS_TOKEN) is None


def test_a_removed_machine_proves_nothing_though_its_token_was_seen() -> None:
    door, seen = proofs()
    who = seen.whose(BOB.peer_id, BOBS_TOKEN)
    assert who is not None
    door.book.register.take(removal(who.person, "bo"), NOW)
    assert seen.whose(BOB.peer_id, BOBS_TOKEN) is None


def test_without_a_token_what_the_door_saw_counts() -> None:
    door, seen = proofs()
    assert seen.whose(BOB.peer_id, b"") is None
    met = admission(BOB, BOBS).me
    door.book.enter(met)
    who = seen.whose(BOB.peer_id, b"")
    assert who is not None
    assert who.name == "beta"
    door.book.enter(replace(met, expires_ms=NOW - DAY_MS))
    assert seen.whose(BOB.peer_id, b"") is None


def test_a_token_that_is_too_long_travels_with_no_presence() -> None:
    door, seen = proofs()
    door.token = replace_certificates(door)
    assert len(seen.token()) > PRESENCE_TOKEN_BYTES_MAX
    assert token_for_presence(seen) == b""


def replace_certificates(door: TokenAdmission) -> MembershipToken:

    return msgspec.structs.replace(door.token, certificates=door.token.certificates * 5)
