"""Where the symbolic links of a tree lead: they must stay inside, whatever they go through."""

from collections.abc import Mapping
from enum import Enum

from swarmnode.errors import TreeRefusedError
from swarmnode.tree.limits import PATH_PARTS_MAX, TREE_LINK_STEPS_MAX, TREE_LINKS_FOLLOWED_MAX
from swarmnode.tree.names import Parts


class _Lost(Enum):
    OUTSIDE = 1
    IN_A_RING = 2


class Links:
    """All links of a tree: place -> target.

    A name that is not in the tree counts as a plain folder: what it will be, whoever makes it
    decides. Links in a ring lead nowhere, for Linux gives up on them, and so not out.
    """

    def __init__(self, targets: Mapping[Parts, bytes]) -> None:
        self._targets = targets
        self._steps = 0

    def leads_out(self, place: Parts) -> bool:
        """Whether following the link at `place` may come to stand outside of the folder.

        Raises TreeRefusedError when the links of the tree are a tangle made to be followed long.
        """
        return self._follow(place) is _Lost.OUTSIDE

    def end_of(self, place: Parts) -> Parts | None:
        """Where the link at `place` leads in the end; None for nowhere inside."""
        end = self._follow(place)
        return None if isinstance(end, _Lost) else end

    def _follow(self, place: Parts) -> "Parts | _Lost":
        here: list[bytes] = list(place[:-1])
        left = _parts(self._targets[place])
        followed = 0
        while left:
            self._count()
            step = left.pop()
            if step == b"/" or (step == b".." and not here):
                return _Lost.OUTSIDE
            if step == b"..":
                here.pop()
                continue
            here.append(step)
            further = self._targets.get(tuple(here)) if len(here) <= PATH_PARTS_MAX else None
            if further is not None:
                followed += 1
                if followed == TREE_LINKS_FOLLOWED_MAX:
                    return _Lost.IN_A_RING
                here.pop()
                left += _parts(further)
        return tuple(here)

    def _count(self) -> None:
        self._steps += 1
        if self._steps > TREE_LINK_STEPS_MAX:
            raise TreeRefusedError("its links lead through one another without end")


def _parts(target: bytes) -> list[bytes]:
    """The parts of a target, last one first; a leading slash stands for itself."""
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    return [*reversed(parts), *([b"/"] if target.startswith(b"/") else [])]
