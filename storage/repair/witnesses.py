"""Whose word it is that others keep what we keep: one person's is not enough to free it.

Whoever holds a part of an object may write its next record, as repair has to. A record that gives
our part to the signer's own machines, which then say that they have it, is the word of one person:
they could have made it up, to have an object freed that is not theirs. So what we keep stays until
its lease ends, unless that person owns the object, or this machine.

Nor are two persons' words: one writes the record, the other says that it has our part, and so they
could go on from holder to holder. What is left without any two of them must be enough to read it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from p2p.ids import PeerId

LIARS: Final = 2
"""Persons who may lie together, and nothing is lost."""


def stands_without(k: int, persons: Sequence[str], trusted: Iterable[str]) -> bool:
    """Whether `k` shards are left when those are gone that the two persons who say that they have
    most have; `persons` has the person of each shard. Who is trusted counts always."""
    doubted = Counter(person for person in persons if person not in set(trusted))
    gone = sum(count for _, count in doubted.most_common(LIARS))
    return len(persons) - gone >= k


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
