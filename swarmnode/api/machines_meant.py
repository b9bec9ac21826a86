"""Whether the machines that a new task requires and avoids are said by their ids; and its labs."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from p2p.errors import IdentityError
from p2p.identity.keys import public_key_of
from swarmnode.api.schema.node import PeerLine
from swarmnode.errors import SpecError
from swarmnode.tasks.secrets.wants import ANY_LAB
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


def with_lab_ids(spec: TaskSpec, known: Sequence[PeerLine]) -> TaskSpec:
    """With the ids of labs that its secrets may go to, in place of their names. SpecError."""
    ids = (
        text if text == ANY_LAB or _is_id(text) else _lab_called(text, known)
        for text in spec.secret_to
    )
    return msgspec.structs.replace(spec, secret_to=tuple(sorted(set(ids))))


def _lab_called(text: str, known: Sequence[PeerLine]) -> str:
    called = {line.lab for line in known if line.lab_name == text and line.lab}
    if len(called) == 1:
        return called.pop()
    if called:
        machines = {line.lab: line.name for line in known if line.lab in called}
        which = " or ".join(f"{lab} (of {machines[lab]})" for lab in sorted(called)[:SHOWN_MAX])
        raise SpecError(f"secret_to: several labs are called {text[:60]!r}: say {which}")
    raise SpecError(f"secret_to: no lab {text[:60]!r} is known here: swarmnode peer ls shows them")
