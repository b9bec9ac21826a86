"""Asks the machines of one's own lab for environments, and answers them.

What has packages from places that not everybody can read is told here and nowhere else: the lab of
who asks is what its certificates say.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RefusalError, RemoteRefusalError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, TrafficClass
from p2p.membership.view import Liveness, Member
from p2p.mesh import Mesh
from p2p.wire.envelope import Signed
from swarmnode.environments.messages import AskEnvironment, EnvironmentTold

ASKED_MAX = 16
"""Machines that are asked: who built or used one is among a lab's, or it is built again."""
ANSWER_S = 2.0
"""A person waits for the slowest of them."""


BUILDING: Final = "building"
"""The code of a refusal: not known yet, but being built for one of our people."""


class LabTold(msgspec.Struct):
    """What came of asking them."""

    records: list[Signed] = msgspec.field(default_factory=list)
    """Nothing of them is checked."""
    builders: list[PeerId] = msgspec.field(default_factory=list)
    """Who says that it is being built for one of its people."""


class LabRecords:
    """Both ends; `of_key` gives what is known here."""

    def __init__(
        self,
        mesh: Mesh,
        lab: LabId,
        of_key: Callable[[bytes], Signed | None],
        is_built: Callable[[bytes], bool],
    ) -> None:
        """`is_built`: whether somebody of this machine has it built just now."""
        self._mesh, self._lab, self._of_key, self._is_built = mesh, lab, of_key, is_built
        mesh.rpc.serve(AskEnvironment, self._on_ask)

    async def _on_ask(
        self, caller: Caller, ask: AskEnvironment, _body: bytes
    ) -> tuple[EnvironmentTold, bytes]:
        await trio.lowlevel.checkpoint()
        if not self._lab or caller.lab != self._lab:
            raise RefusalError("lab", "environments are told to machines of our own lab")
        if (sealed := self._of_key(ask.key)) is None:
            if self._is_built(ask.key):
                raise RefusalError(BUILDING, "it is being built")
            raise RefusalError("unknown", "no environment of that key is known here")
        return EnvironmentTold(sealed), b""

    async def read(self, key: bytes) -> LabTold:
        """What they know of that key."""
        told = LabTold()
        members = self._mesh.members.view().members
        ours = [one.peer for one in members if one.lab == self._lab and self._is_asked(one)]
        async with trio.open_nursery() as nursery:
            for peer in ours[:ASKED_MAX]:
                nursery.start_soon(self._ask, peer, key, told)
        return told

    def _is_asked(self, member: Member) -> bool:
        return member.liveness is Liveness.ALIVE and member.peer != self._mesh.me

    async def _ask(self, peer: PeerId, key: bytes, told: LabTold) -> None:
        try:
            answer, _ = await self._mesh.rpc.call(
                peer,
                AskEnvironment(key),
                EnvironmentTold,
                traffic_class=TrafficClass.INTERACTIVE,
                timeout_s=ANSWER_S,
            )
        except RemoteRefusalError as refusal:
            if refusal.code == BUILDING:
                told.builders.append(peer)
            return  # else another may know it, or this is an older one that knows no environments
        except (PeerUnreachableError, CallTimeoutError):
            return
        told.records.append(answer.sealed)
