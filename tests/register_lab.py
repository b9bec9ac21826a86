"""People of two labs of one network, their certificates, and registers of what they signed."""

from p2p.identity.admission import Admitted, Anchor, Clocks, check_token
from p2p.identity.issue import Grant, Keys, Names, accept, found, proof_of
from p2p.identity.issue import invite as certify_invite
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.lineage import CertLink
from p2p.identity.records import PERSON_DOMAIN, MembershipToken
from p2p.identity.register.register import Register, remove, witness
from p2p.identity.register.uses import certificate_of, uses_in
from p2p.wire.envelope import Signed

NOW = 1_800_000_000_000


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


ROOT = key("network")
ANCHOR = Anchor(network_id_of(ROOT.peer_id), ROOT.peer_id)


class Person:
    """Somebody with one machine: keys, token, and what the token proves."""

    def __init__(self, name: str, keys: Keys, token: MembershipToken, now_ms: int = NOW) -> None:
        self.name, self.keys, self.token = name, keys, token
        self.who = self.seen(now_ms)

    def seen(self, now_ms: int = NOW) -> Admitted:
        return check_token(self.token, self.keys.machine.peer_id, ANCHOR, ROOT, Clocks(now_ms))

    def invites(self, *names: str, uses: int = 1, can_invite: bool = True) -> list["Person"]:
        """People that come with one invite of ours."""
        grant, seed = Grant(uses=uses, can_invite=can_invite), key(f"i-{names[0]}")
        chain = certify_invite(ANCHOR, self.keys, self.token, grant, seed, NOW)
        made = []
        for name in names:
            keys = Keys(key(f"{name}'s machine"), key(name))
            token = accept(ANCHOR, chain, seed, keys, Names(f"{name}-1", name, ""), NOW)
            made.append(Person(name, keys, token))
        return made

    def removes(self, other: "Person", at_ms: int = NOW, signer: KeySigner | None = None) -> Signed:
        """A removal of another person, with the member key unless told otherwise."""
        signer = signer or self.keys.person
        assert signer is not None
        link = CertLink(PERSON_DOMAIN, other.who.person, "", other.name)
        return remove(signer, ANCHOR.network, link, proof_of(signer, ANCHOR, self.token), at_ms)


def founder(lab: str = "physics") -> Person:
    keys = Keys(key(f"{lab}'s machine"), key(f"{lab}'s founder"), key(lab), ROOT)
    token = found(ANCHOR, keys, Names(f"{lab}-1", f"{lab}-founder", lab), NOW)
    return Person(f"{lab}-founder", keys, token)


ANN = founder()
(BOB,) = ANN.invites("bob")
(CAROL,) = BOB.invites("carol")
(DAVE,) = ANN.invites("dave")
ZOE = founder("chemistry")


def register(*entries: Signed) -> Register:
    made = Register(ANCHOR, ROOT)
    made.take_all(entries, NOW)
    return made


def is_out(made: Register, person: Person) -> bool:
    return made.why_out(person.who) is not None


def used_by(newcomer: Person) -> Signed | None:
    """What the invite that they came with signed for them."""
    use = next(used for used in uses_in(newcomer.who) if used.user == newcomer.who.person)
    return certificate_of(use, newcomer.token.certificates)


def let_in(by: Person, newcomer: Person, at_ms: int = NOW) -> Signed:
    certificate = used_by(newcomer)
    assert certificate is not None
    return witness(by.keys.machine, ANCHOR.network, by.token, certificate, at_ms)
