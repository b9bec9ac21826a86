"""The right to put in somebody's name: who owns bytes is not always who brings them.

A machine that runs a task puts its outputs and checkpoints for the task's owner. The owner's own
machine signs that it may (a link); whoever was named there may name the next. The first signer
shows whose machine it is by its certificates, so that holders can check it when that machine is
switched off.

    owner's machine -> the machine that may put          the owner's machine -> guardian -> worker
"""

from collections.abc import Callable
from typing import Final

import msgspec
from blake3 import blake3

from p2p.errors import RefusalError, WireError
from p2p.identity.proofs import Proofs, owner_of
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.wire.codec import Record, decode_as, encode
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.limits import RIGHT_LINKS_MAX, RIGHTS_KEPT, TASK_LABEL_CHARS_MAX

RIGHT_DOMAIN: Final = "swarm/storage/right/1"
_NOT_SIGNED: Final = "the right is not signed by a machine of that owner"


class RightLink(Record, frozen=True):
    """`putter` may put for this owner, on behalf of one task. Sealed by whoever grants it."""

    owner: PersonId
    lab: LabId
    putter: PeerId
    task: str


class Right(Record, frozen=True):
    """A chain of sealed links, the owner's first; the putter of each seals the next."""

    links: tuple[Signed, ...]
    token: bytes = b""
    """Certificates of the first signer (p2p.identity.records), where the network has such."""


class OpenedRight(msgspec.Struct, frozen=True):
    """What a chain proves."""

    owner: PersonId
    lab: LabId
    putter: PeerId
    task: str
    expires_ms: int
    """When its first link ends."""


def right_for(
    signer: Signer, network: NetworkId, token: bytes, link: RightLink, expires_ms: int
) -> Right:
    """A right given by a machine of the owner."""
    sealed = seal(signer, network, RIGHT_DOMAIN, link, sequence=0, expires_ms=expires_ms)
    return Right((sealed,), token)


def extended(right: Right, signer: Signer, network: NetworkId, putter: PeerId) -> Right:
    """The same right handed on by whom it names last. Raises WireError."""
    last = open_signed(signer, network, RIGHT_DOMAIN, RightLink, right.links[-1])
    link = RightLink(last.owner, last.lab, putter, last.task)
    expires_ms = right.links[-1].expires_ms
    sealed = seal(signer, network, RIGHT_DOMAIN, link, sequence=0, expires_ms=expires_ms)
    return Right((*right.links, sealed), right.token)


def named_in(right: Right) -> RightLink:
    """What its last link says, unchecked. Raises WireError when it says nothing."""
    if not 1 <= len(right.links) <= RIGHT_LINKS_MAX:
        raise WireError(f"a right of {len(right.links)} links")
    return decode_as(RightLink, right.links[-1].payload)


class Rights:
    """Checks rights; those seen lately are checked once."""

    def __init__(
        self,
        signer: Signer,
        network: NetworkId,
        proofs: Proofs | None,
        wall_ms: Callable[[], int],
    ) -> None:
        """Without `proofs`, where nobody has certificates, no right is believed."""
        self._signer, self._network = signer, network
        self._proofs, self._wall_ms = proofs, wall_ms
        self._known: dict[bytes, OpenedRight] = {}
        """By a hash of the right: what it was found to give; the last used last."""

    def open(self, right: Right) -> OpenedRight:
        """Who may put for whom. Raises RefusalError `not-yours` that says what is wrong."""
        opened = self._opened(right)
        if opened.expires_ms + CLOCK_SKEW_MAX_MS < self._wall_ms():
            raise RefusalError("not-yours", "the right to put for that owner has ended")
        if not self._is_proved(right, opened.owner, opened.lab):  # it may have been removed since
            raise RefusalError("not-yours", _NOT_SIGNED)
        return opened

    def _is_proved(self, right: Right, owner: PersonId, lab: LabId) -> bool:
        return owner_of(self._proofs, right.links[0].sender, right.token) == (owner, lab)

    def _opened(self, right: Right) -> OpenedRight:
        name = blake3(encode(right)).digest()
        opened = self._known.pop(name) if name in self._known else self._checked(right)
        self._known[name] = opened
        if len(self._known) > RIGHTS_KEPT:
            del self._known[next(iter(self._known))]
        return opened

    def check(self, putter: PeerId, right: Right, owner: PersonId, lab: LabId) -> None:
        """Raise RefusalError unless `right` lets that machine put for that owner of that lab."""
        opened = self.open(right)
        if (opened.putter, opened.owner, opened.lab) != (putter, owner, lab):
            raise RefusalError("not-yours", "the right is another machine's or another owner's")

    def giver(self, right: Right, task: str) -> tuple[PersonId, LabId] | None:
        """Who gave a right for that task; None when it proves nothing.

        Whose a task is stays true when the right to put for it has ended. One that a machine gave
        which was removed since, or whose certificates have ended, shows it to who saw it before.
        """
        try:
            opened = self._opened(right)
        except RefusalError:
            return None
        return (opened.owner, opened.lab) if opened.task == task else None

    def _checked(self, right: Right) -> OpenedRight:
        if not 1 <= len(right.links) <= RIGHT_LINKS_MAX:
            raise RefusalError("not-yours", f"a right of {len(right.links)} links")
        try:
            links = [
                open_signed(self._signer, self._network, RIGHT_DOMAIN, RightLink, sealed)
                for sealed in right.links
            ]
        except WireError as exc:
            raise RefusalError("not-yours", str(exc)) from exc
        first, last = links[0], links[-1]
        for before, link, sealed in zip(links, links[1:], right.links[1:], strict=False):
            if sealed.sender != before.putter or _whose(link) != _whose(before):
                raise RefusalError("not-yours", "the links of the right do not hold together")
        if len(first.task) > TASK_LABEL_CHARS_MAX:
            raise RefusalError("not-yours", "the task's name in the right is too long")
        if not self._is_proved(right, first.owner, first.lab):
            raise RefusalError("not-yours", _NOT_SIGNED)
        expires_ms = min(sealed.expires_ms for sealed in right.links)
        return OpenedRight(first.owner, first.lab, last.putter, first.task, expires_ms)


def _whose(link: RightLink) -> tuple[PersonId, LabId, str]:
    return link.owner, link.lab, link.task
