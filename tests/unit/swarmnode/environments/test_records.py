"""Records of environments: who signed what, and what nobody believes."""

import pytest
from msgspec.structs import replace

from p2p.errors import WireError
from p2p.identity.caller import Caller
from p2p.identity.keys import KeySigner
from p2p.ids import LabId, NetworkId, PeerId
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_cap
from swarmnode.environments.records import RecordOffice
from swarmnode.tasks.environments.records import BuiltEnvironment, EnvironmentRecord, usable
from testnet.sim.callers import machine_of

NET, LAB = NetworkId("net"), LabId("ours")
CAP = text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))
BUILT = BuiltEnvironment(CAP, b"d" * 32, 1, "x86_64")
RECORD = EnvironmentRecord(b"k" * 32, BUILT, "3.11.2", "2.36", "0.9", 1)


def office(
    seed: bytes = b"1", network: NetworkId = NET, proofs: "Proven | None" = None
) -> RecordOffice:
    return RecordOffice(KeySigner.from_seed(seed * 32), network, LAB, proofs, lambda: 0)


class Proven:
    """Certificates of one machine: what its token proves now, and what was seen of it since."""

    def __init__(self, peer: PeerId) -> None:
        self.who = machine_of(peer, LAB)
        self.token_holds, self.is_in = True, True

    def token(self) -> bytes:
        return b"token"

    def me(self) -> Caller:
        return self.who

    def whose(self, peer: PeerId, token: bytes) -> Caller | None:
        is_good = self.is_in and peer == self.who.peer and (self.token_holds or not token)
        return self.who if is_good else None


def test_nobody_believes_a_machine_that_was_removed_since() -> None:
    carol = office(b"2")
    proofs = Proven(carol.signer.peer_id)
    here = office(proofs=proofs)
    sealed = replace(carol, proofs=proofs).certify(RECORD)
    known = here.opened(sealed, RECORD.key)
    assert (known.lab, here.stands(known)) == (LAB, True)
    proofs.token_holds = False
    assert here.stands(known), "its membership was renewed, and that is known here"
    proofs.is_in = False
    assert not here.stands(known)
    assert usable([here.opened(sealed, RECORD.key)], LAB) is None


def test_what_this_machine_signed_is_of_our_lab() -> None:
    here = office()
    known = here.opened(here.certify(RECORD), RECORD.key)
    assert known.lab == LAB
    assert usable([known], LAB) == known


def test_what_a_stranger_signed_is_of_no_lab_and_not_used() -> None:
    known = office().opened(office(b"2").certify(RECORD), RECORD.key)
    assert usable([known], LAB) is None


def test_a_record_about_another_key_or_network_or_with_another_digest_is_no_good() -> None:
    here = office()
    sealed = here.certify(RECORD)
    with pytest.raises(WireError, match="another environment"):
        here.opened(sealed, b"other" * 8)
    with pytest.raises(WireError):
        here.opened(office(network=NetworkId("other")).certify(RECORD), RECORD.key)
    nothing = replace(RECORD, built=replace(BUILT, cap="../../x"))
    with pytest.raises(WireError, match="capability"):
        here.opened(here.certify(nothing), RECORD.key)
    forged = here.certify(replace(RECORD, built=replace(BUILT, digest=b"e" * 32)))
    with pytest.raises(WireError, match="signature"):
        here.opened(replace(sealed, payload=forged.payload), RECORD.key)
    with pytest.raises(WireError, match="signature"):
        here.opened(replace(sealed, sender=KeySigner.from_seed(b"3" * 32).peer_id), RECORD.key)
