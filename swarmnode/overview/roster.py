"""The people of the network as this node knows them, and removing one of them.

What is shown comes from certificates that were checked at admission, not from what machines say of
themselves. Removing signs with the highest key that lies here and may; the register spreads it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from p2p.errors import IdentityError
from p2p.identity.admission import Admitted
from p2p.identity.issue import proof_of
from p2p.identity.keys import KeySigner, public_key_of
from p2p.identity.lineage import CertLink, may_remove
from p2p.identity.papers import Papers
from p2p.identity.records import INVITE_DOMAIN, LAB_DOMAIN, MACHINE_DOMAIN, PERSON_DOMAIN
from p2p.identity.register.register import remove
from p2p.identity.register.removals import Removed
from p2p.ids import PeerId
from p2p.membership.view import Liveness, View
from p2p.register.service import RegisterService
from p2p.wire.envelope import Signed
from swarmnode.api.schema.node import MemberLine, MemberMachine, RemovalDone
from swarmnode.errors import (
    NotAllowedError,
    RemovalRefusedError,
    SubjectAmbiguousError,
    SubjectUnknownError,
)

KINDS = {
    LAB_DOMAIN: "lab",
    INVITE_DOMAIN: "invite",
    PERSON_DOMAIN: "person",
    MACHINE_DOMAIN: "machine",
}
_END_CHARS_MIN = 6
"""Of an id behind `..`: as many as are shown."""

_FIRST = (PERSON_DOMAIN, MACHINE_DOMAIN, LAB_DOMAIN, INVITE_DOMAIN)
"""What a name is looked for among, first one first: people are removed most often."""


class Roster(msgspec.Struct, frozen=True):
    """The people of one node's network; removes them, and machines, labs and invites."""

    register: RegisterService
    papers: Papers | None
    view: Callable[[], View]
    wall_ms: Callable[[], int]

    # -- listing

    def lines(self) -> tuple[MemberLine, ...]:
        """Everybody who is known here since the start, then those who were removed."""
        out, now_ms = self.register.out(), self.wall_ms()
        people: dict[str, list[Admitted]] = {}
        for who in self.register.book.everybody().values():
            people.setdefault(who.person, []).append(who)
        lines = [self._line(machines, out, now_ms) for machines in people.values()]
        lines.sort(key=lambda line: (line.standing != "member", line.lab_name, line.name))
        told = {line.member for line in lines if line.standing == "removed"}
        told |= {machine.peer for line in lines for machine in line.machines if machine.why_out}
        removals = self.register.register.removals.all()
        return (*lines, *(_removed(removal) for removal in removals if removal.subject not in told))

    def _line(
        self, machines: Sequence[Admitted], out: Mapping[PeerId, str], now_ms: int
    ) -> MemberLine:
        first = max(machines, key=self._weight)
        reasons = [out.get(machine.peer, "") for machine in machines]
        valid_until_ms = max(machine.expires_ms for machine in machines)
        has_ended = valid_until_ms < now_ms
        standing = "removed" if all(reasons) else "ended" if has_ended else "member"
        return MemberLine(
            member=first.person,
            name=first.person_name,
            lab=first.lab,
            lab_name=first.lab_name,
            standing=standing,
            why=next((why for why in reasons if why), "") if standing == "removed" else "",
            can_invite=first.can_invite,
            invited_by=_inviter(first),
            invite=first.came_with.invite if first.came_with else "",
            valid_until_ms=valid_until_ms,
            machines=tuple(map(self._machine, machines, reasons)),
            is_me=self.papers is not None and self.papers.me.person == first.person,
        )

    def _weight(self, who: Admitted) -> tuple[bool, int]:
        """Which of a person's machines says what they are called and where they are now."""
        member = self.view().find(who.peer)
        return member is not None and member.liveness is Liveness.ALIVE, who.expires_ms

    def _machine(self, who: Admitted, why_out: str) -> MemberMachine:
        member = self.view().find(who.peer)
        liveness = Liveness.DEAD if member is None else member.liveness
        return MemberMachine(who.peer, who.name, liveness.name.lower(), why_out)

    def lab_key(self) -> KeySigner:
        """That of the lab, where it lies here. Raises NotAllowedError."""
        key = None if self.papers is None else self.papers.keys().lab
        if key is None:
            raise NotAllowedError(
                "the key of the lab is not on this machine: it is on that of whoever founded it"
            )
        return key

    # -- removing

    async def remove(self, text: str, *, takes_along: bool = False) -> RemovalDone:
        """Remove a person, machine, lab or invite by name or id, for everybody and for good.

        Raises SubjectUnknownError, SubjectAmbiguousError, RemovalRefusedError.
        """
        if self.papers is None:
            raise RemovalRefusedError("this node has no certificates of its own")
        link, lineage = self._find(text)
        along = self._along(link)
        self._check_removal(link, self.papers.me, () if takes_along else along)
        signer, proof = self._signer(link, lineage)
        done = RemovalDone(True, link.subject, link.name, KINDS[link.domain], tuple(along))
        if self._has_removed(signer, link):
            return msgspec.structs.replace(done, changed=False)
        sealed = remove(signer, self.papers.anchor.network, link, proof, self.wall_ms())
        if await self.register.add(sealed) is None:
            raise RemovalRefusedError("no room for more removals: the network holds too many")
        closed = await self._close_invites(link, lineage)
        return msgspec.structs.replace(done, closed=closed)

    def _check_removal(self, link: CertLink, me: Admitted, along: Sequence[str]) -> None:
        """`along`: who may not be removed with it. Raises RemovalRefusedError."""
        if link.subject in {cert.subject for cert in me.lineage}:
            raise RemovalRefusedError(
                f"{_called(link)} is you, or what you stand on: to leave, stop the node and remove "
                "its home"
            )
        if along:
            raise RemovalRefusedError(
                f"{', '.join(along)} came with an invite of {_called(link)} and would be removed, "
                "too: give them a new invite first, or say --with-invited"
            )
        if self.register.would_misdate(but_for=link.subject):
            raise RemovalRefusedError(
                "this machine's clock differs from most others', who would not believe a removal "
                "from then: set it"
            )

    def _has_removed(self, signer: KeySigner, link: CertLink) -> bool:
        removals = self.register.register.removals.all()
        return (link.subject, signer.peer_id) in {
            (removal.subject, removal.sealed.sender) for removal in removals
        }

    def person(self, text: str) -> CertLink:
        """A person by name or id. Raises SubjectUnknownError, SubjectAmbiguousError."""
        link, _ = self._find(text)
        if link.domain != PERSON_DOMAIN:
            raise SubjectUnknownError(f"{text!r} is a {KINDS[link.domain]}, not a person")
        return link

    async def _close_invites(self, link: CertLink, lineage: Sequence[CertLink]) -> tuple[str, ...]:
        """Invites for several, with which the removed could come back under new keys."""
        assert self.papers is not None
        network, closed = self.papers.anchor.network, []
        signers = {cert.signer for cert in lineage if link.subject in (cert.subject, cert.beside)}
        for invite in (cert for cert in lineage if cert.subject in signers and cert.uses > 1):
            signer, proof = self._signer(invite, lineage)
            sealed = remove(signer, network, invite, proof, self.wall_ms(), closes=True)
            if await self.register.add(sealed) is not None:
                closed.append(invite.subject)
        return tuple(closed)

    def _find(self, text: str) -> tuple[CertLink, Sequence[CertLink]]:
        """The one that is meant, and the certificates it stands in."""
        for domain in _FIRST:
            called = self._called_so(text, domain)
            if len(called) == 1:
                return next(iter(called.values()))
            if called:
                these = ", ".join(f"{KINDS[domain]} {subject}" for subject in called)
                raise SubjectAmbiguousError(
                    f"{len(called)} are called {text!r}: say one of {these}"
                )
        try:
            public_key_of(PeerId(text))
        except IdentityError:
            raise SubjectUnknownError(
                f"nobody {text!r} has been met since this node started: see swarmnode member ls, "
                "or give the id"
            ) from None
        return CertLink(PERSON_DOMAIN, text, ""), ()

    def _called_so(self, text: str, domain: str) -> dict[str, tuple[CertLink, Sequence[CertLink]]]:
        """By id, each with the first certificates that it stands in."""
        called: dict[str, tuple[CertLink, Sequence[CertLink]]] = {}
        for who in self.register.book.everybody().values():
            for link in who.lineage:
                if link.domain == domain and _is_called(link, text):
                    called.setdefault(link.subject, (link, who.lineage))
        return called

    def _signer(
        self, link: CertLink, lineage: Sequence[CertLink]
    ) -> tuple[KeySigner, tuple[Signed, ...]]:
        assert self.papers is not None
        keys = self.papers.keys()
        above = may_remove(lineage, link.subject)
        for key in (keys.lab, keys.network, keys.person):
            # Whoever was never met here: only a key that stands above many may be worth a try.
            is_worth_it = not lineage and key is not keys.person
            if key is not None and (key.peer_id in above or is_worth_it):
                return key, proof_of(key, self.papers.anchor, self.papers.token)
        raise _no_key_for(link, lineage)

    def _along(self, link: CertLink) -> list[str]:
        """Other people who stand below a person."""
        if link.domain != PERSON_DOMAIN:
            return []
        everybody: Iterable[Admitted] = self.register.book.everybody().values()
        out = self.register.out()
        return sorted(
            {
                who.person_name
                for who in everybody
                if who.person != link.subject
                and who.peer not in out
                and any(cert.subject == link.subject for cert in who.lineage)
            }
        )


def _no_key_for(link: CertLink, lineage: Sequence[CertLink]) -> RemovalRefusedError:
    lab = next((cert for cert in lineage if cert.domain == LAB_DOMAIN), None)
    whose = f"the key of {lab.name}" if lab else "the lab's key"
    return RemovalRefusedError(
        f"{_called(link)} is removed with {whose}, or by whoever invited them; neither key is "
        "on this machine"
    )


def _removed(removed: Removed) -> MemberLine:
    """A removal of somebody whom this node has not met since it started."""
    return MemberLine(removed.subject, removed.name, "", "", "removed", str(removed))


def _inviter(who: Admitted) -> str:
    """The name of whoever invited a person, where their certificates say."""
    links = {cert.subject: cert for cert in who.lineage}
    person = links.get(who.person)
    if person is None:
        return ""
    invite = links.get(person.signer)
    above = links.get(invite.signer if invite else person.beside)
    return "" if above is None else above.name


def _is_called(link: CertLink, text: str) -> bool:
    """By id, by name, or by the end of the id as `member ls` shows it, alone or behind the name."""
    if text in (link.subject, link.name):
        return True
    name, dots, end = text.rpartition("..")
    is_end = bool(dots) and len(end) >= _END_CHARS_MIN and link.subject.endswith(end)
    return is_end and name in ("", link.name)


def _called(link: CertLink) -> str:
    return f"{KINDS[link.domain]} {link.name or link.subject}"
