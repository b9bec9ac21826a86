"""No string of bytes, and no forged chain, gets a stranger in or raises anything untyped."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.errors import AdmissionError, InviteError, WireError
from p2p.identity.admission import Anchor, Clocks, check_token
from p2p.identity.invites import Invite, contacts_of, decode_invite, encode_invite
from p2p.identity.issue import DAY_MS, Grant, Keys, Names, accept, found
from p2p.identity.issue import invite as certify_invite
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.records import (
    CERTIFICATES,
    InviteCert,
    LabCert,
    MachineCert,
    MembershipToken,
    PersonCert,
    certify,
    decode_token,
    encode_token,
)
from p2p.ids import LabId, PeerId, PersonId
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed, open_signed, seal

NOW = 1_800_000_000_000


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


ROOT, LAB, ANN, ALPHA, INVITE = (key(n) for n in ("network", "lab", "ann", "alpha", "invite"))
ANCHOR = Anchor(network_id_of(ROOT.peer_id), ROOT.peer_id)
FOUNDER = Keys(ALPHA, ANN, LAB, ROOT)
FOUNDERS = found(ANCHOR, FOUNDER, Names("alpha", "ann", "physics"), NOW)
INVITED = certify_invite(ANCHOR, FOUNDER, FOUNDERS, Grant(can_invite=True), INVITE, NOW)
BOB = Keys(key("beta"), key("bob"))
BOBS = accept(ANCHOR, INVITED, INVITE, BOB, Names("beta", "bob", ""), NOW)
BOBS_BYTES = encode_token(BOBS)
TEXT = encode_invite(
    Invite(
        ROOT.peer_id,
        contacts_of([f"/ip4/192.0.2.1/tcp/4850/p2p/{ALPHA.peer_id}"]),
        certificates=INVITED,
        seed=INVITE.seed(),
    )
)


def admit(data: bytes, peer: PeerId) -> None:
    check_token(decode_token(data), peer, ANCHOR, ALPHA, Clocks(NOW))


def test_the_token_and_the_invite_used_here_are_good() -> None:
    admit(BOBS_BYTES, BOB.machine.peer_id)
    assert decode_invite(TEXT, NOW).seed == INVITE.seed()


def test_every_single_changed_byte_of_a_token_is_refused() -> None:
    for at in range(len(BOBS_BYTES)):
        for flip in (0x01, 0x04, 0x1C, 0x80):  # 0x1c turns one spelling of an integer into another
            data = bytearray(BOBS_BYTES)
            data[at] ^= flip
            with pytest.raises((WireError, AdmissionError)):
                admit(bytes(data), BOB.machine.peer_id)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(BOBS_BYTES) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_token_is_refused(at: int, flip: int) -> None:
    data = bytearray(BOBS_BYTES)
    data[at] ^= flip
    with pytest.raises((WireError, AdmissionError)):
        admit(bytes(data), BOB.machine.peer_id)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, len(BOBS_BYTES)))
def test_any_bytes_instead_of_a_token_are_refused(junk: bytes, cut: int) -> None:
    for data in (junk, BOBS_BYTES[:cut] + junk):
        if data != BOBS_BYTES:
            with pytest.raises((WireError, AdmissionError)):
                admit(data, BOB.machine.peer_id)


def test_every_single_changed_character_of_an_invite_is_refused() -> None:
    for at, char in enumerate(TEXT):
        for other in ("a" if char != "a" else "b", "7" if char != "7" else "6", char.upper(), "é"):
            if other != char:
                with pytest.raises(InviteError):
                    decode_invite(TEXT[:at] + other + TEXT[at + 1 :], NOW)


def test_an_invite_cut_short_anywhere_is_called_truncated() -> None:
    for end in range(len("swarm1"), len(TEXT)):
        with pytest.raises(InviteError) as caught:
            decode_invite(TEXT[:end], NOW)
        assert caught.value.part == "truncated"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.booleans())
def test_any_text_instead_of_an_invite_is_refused(text: str, prefixed: bool) -> None:
    with pytest.raises(InviteError):
        decode_invite("swarm1" * prefixed + text, NOW)


SAMPLES: tuple[Record, ...] = (
    LabCert(LabId(LAB.peer_id), "physics"),
    InviteCert(INVITE.peer_id, LabId(LAB.peer_id), 1, NOW),
    PersonCert(PersonId(ANN.peer_id), "ann", LabId(LAB.peer_id)),
    MachineCert(ALPHA.peer_id, LabId(LAB.peer_id), PersonId(ANN.peer_id), "alpha", ""),
)
DOMAINS = (*CERTIFICATES, "swarm/advert", "swarm/award")


@pytest.mark.parametrize("record", SAMPLES)
@pytest.mark.parametrize("signed_for", DOMAINS)
@pytest.mark.parametrize("shown_as", DOMAINS)
def test_a_signature_made_for_one_domain_never_verifies_for_another(
    record: Record, signed_for: str, shown_as: str
) -> None:
    sealed = seal(LAB, ANCHOR.network, signed_for, record, sequence=1, expires_ms=2)
    renamed = Signed(
        sealed.version,
        sealed.network,
        shown_as,
        sealed.sender,
        sealed.sequence,
        sealed.expires_ms,
        sealed.payload,
        sealed.signature,
    )
    if signed_for == shown_as:
        assert open_signed(ALPHA, ANCHOR.network, shown_as, type(record), renamed) == record
    else:
        for shown in (sealed, renamed):
            with pytest.raises(WireError):
                open_signed(ALPHA, ANCHOR.network, shown_as, type(record), shown)


MALLORY, MACHINE, FAKE_LAB, FAKE_INVITE = (key(n) for n in ("mallory", "evil", "fake", "fake i"))
FORGERS = (MALLORY, MACHINE, FAKE_LAB, FAKE_INVITE)
IDS = tuple(one.peer_id for one in (*FORGERS, ROOT, LAB, ANN, ALPHA, INVITE))


@st.composite
def forged(draw: st.DrawFn) -> Signed:
    """Anything a stranger can sign: any content, with keys of their own."""
    ids = st.sampled_from(IDS)
    lab, member = LabId(draw(ids)), PersonId(draw(ids))
    record = draw(
        st.sampled_from(
            (
                LabCert(lab, "lab"),
                PersonCert(member, "person", lab, can_invite=True),
                InviteCert(draw(ids), lab, 9, NOW + 1, can_invite=True),
                InviteCert(draw(ids), LabId(""), 9, NOW + 1, new_lab=True),
                InviteCert(draw(ids), lab, 9, NOW + 1, owner=member),
                MachineCert(MACHINE.peer_id, lab, member, "evil", ""),
            )
        )
    )
    signer = draw(st.sampled_from(FORGERS))
    return certify(signer, ANCHOR.network, record, issued_ms=NOW, expires_ms=NOW + DAY_MS)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from((*FOUNDERS.certificates, *BOBS.certificates)), forged()),
        max_size=7,
    ),
    st.sampled_from(IDS),
    st.sampled_from(IDS),
    st.sampled_from(FORGERS),
)
def test_no_mixture_of_true_and_forged_certificates_lets_a_stranger_in(
    before: list[Signed], lab: PeerId, member: PeerId, signer: KeySigner
) -> None:
    cert = MachineCert(MACHINE.peer_id, LabId(lab), PersonId(member), "evil", "")
    last = certify(signer, ANCHOR.network, cert, issued_ms=NOW, expires_ms=NOW + DAY_MS)
    token = MembershipToken((*before, last))
    with pytest.raises(AdmissionError):
        check_token(token, MACHINE.peer_id, ANCHOR, ALPHA, Clocks(NOW))
