"""Who simulated machines are to each other: what certificates prove on a real network."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from p2p.errors import WireError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId

LAB = LabId("lab")
"""Of simulations that have only one."""


def machine_of(peer: PeerId, lab: LabId = LAB, person: PersonId | None = None) -> Caller:
    """A machine of a lab; of a person of its own unless told whose."""
    owner = PersonId(f"owner-{peer}") if person is None else person
    return Caller(peer, owner, lab, name=peer, person_name=owner, lab_name=lab)


@dataclass(frozen=True, slots=True)
class KnownMachines:
    """Satisfies p2p.identity.proofs.Proofs: a token is good if it names its machine."""

    own: PeerId
    machines: Mapping[PeerId, Caller]

    def token(self) -> bytes:
        """Ours."""
        return f"token of {self.own}".encode()

    def me(self) -> Caller:
        """Who we are."""
        return replace(self.machines[self.own], is_me=True)

    def whose(self, peer: PeerId, token: bytes) -> Caller | None:
        """Whose machine that is."""
        if token and token != f"token of {peer}".encode():
            raise WireError("somebody else's token")
        return self.machines.get(peer) if token else None
