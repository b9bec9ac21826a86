"""Whose word it is that others keep what we keep: one person's is not enough to free it.

Whoever holds a part of an object may write its next record, as repair has to. A record that gives
our part to the signer's own machines, which then say that they have it, is the word of one person:
they could have made it up, to have an object freed that is not theirs. So what we keep stays until
its lease ends, unless that person owns the object, or this machine.
"""

from collections.abc import Callable, Iterable

from p2p.ids import PeerId


def is_one_persons_word(
    signer: PeerId,
    keepers: Iterable[PeerId],
    trusted: Iterable[str],
    person_of: Callable[[PeerId], str],
) -> bool:
    """Whether a record's signer and all who are to keep our part are one person's.

    Persons in `trusted` (the owner, and whose machine this is) may be alone.

    `person_of` gives somebody else for each machine whose owner is not known.
    """
    persons = {person_of(signer), *(person_of(peer) for peer in keepers)}
    return len(persons) == 1 and persons.isdisjoint(trusted)
