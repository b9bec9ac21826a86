"""Whether the machines that a new task requires and avoids are said by their ids."""

from collections.abc import Iterator, Sequence
from typing import Final

from p2p.errors import IdentityError
from p2p.identity.keys import public_key_of
from swarmnode.api.schema.node import PeerLine
from swarmnode.errors import SpecError
from swarmnode.tasks.spec import TaskSpec

SHOWN_MAX: Final = 5
"""Machines of one name that are told."""


def refuse_other_than_ids(spec: TaskSpec, known: Sequence[PeerLine]) -> None:
    """Only of what is newly submitted: older tasks go on. Raises SpecError, a line per fault."""
    if faults := list(_faults(spec, known)):
        raise SpecError("\n".join(faults))


def _faults(spec: TaskSpec, known: Sequence[PeerLine]) -> Iterator[str]:
    ids = {line.peer for line in known}
    for key, peers in (("require", spec.require), ("avoid", spec.avoid)):
        for peer in peers:
            if peer not in ids and not _is_id(peer):
                yield f"{key}: {peer[:60]!r} is no peer id: {_remedy(peer, known)}"


def _is_id(text: str) -> bool:
    try:
        public_key_of(text)
    except IdentityError:
        return False
    return True


def _remedy(text: str, known: Sequence[PeerLine]) -> str:
    """For people: of a name that machines have here, their ids."""
    called = [line.peer for line in known if line.name == text][:SHOWN_MAX]
    if called:
        return f"the machine of that name is {' or '.join(called)}"
    return "swarmnode peer ls -o json shows those of the machines"
