"""Why nobody can be asked to run a task: how many machines lack what, and what would help.

The way Kubernetes' scheduler sums up ("0/3 nodes are available: 2 Insufficient memory"), with the
most that there is of what lacks, and whose word would change it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from p2p.ids import PeerId
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.buyer.bidding.fit import Lack, Requirement
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.environments.naming import BUILD, IMAGE, named_by_owner
from swarmnode.tasks.spec import TaskSpec

Lacks: TypeAlias = Sequence[tuple[PeerId, Lack]]
NONE_KNOWN: Final = "no machine is known yet"
_REASONS_SHOWN: Final = 3
_NAMES_SHOWN: Final = 6
_NAME_CHARS_SHOWN: Final = 40
_COUNTED: Final = frozenset(
    (Requirement.CPU, Requirement.MEMORY, Requirement.DISK, Requirement.GPU)
)
_ADVICE: Final[Mapping[Requirement, str]] = {
    Requirement.CPU: "Ask for fewer cores (--cpu), or lend more ([compute] cpu_millis)",
    Requirement.MEMORY: "Ask for less (--mem), or free or lend more ([compute] memory_mib)",
    Requirement.DISK: "Ask for less (--disk), or free or lend more ([compute] disk_gib)",
    Requirement.NET: "Ask for less (--net); [compute] net of a machine is its owner's word",
}


def reasons_of(lacks: Lacks) -> tuple[tuple[str, int], ...]:
    """What lacks on how many machines, the most first: the same while only amounts change."""
    groups = _grouped(lacks)
    return tuple(sorted((key, len(group)) for key, group in groups.items()))


def nobody_words(spec: TaskSpec, lacks: Lacks, adverts: Iterable[ResourceAdvert]) -> str:
    """For people, in REASON_CHARS_MAX characters."""
    if not lacks:
        return NONE_KNOWN
    groups = sorted(_grouped(lacks).values(), key=len, reverse=True)
    told = "; ".join(_told(group, len(lacks)) for group in groups[:_REASONS_SHOWN])
    advice = _advice(groups[0][0].want, spec, adverts)
    end = f". {advice}" if advice else ""
    begin = f"no machine can run this: {told}"
    return f"{begin[: REASON_CHARS_MAX - len(end)]}{end}"[:REASON_CHARS_MAX]


def _grouped(lacks: Lacks) -> dict[str, list[Lack]]:
    groups: dict[str, list[Lack]] = {}
    for _, lack in lacks:
        key = lack.want.value if lack.want in _COUNTED else lack.words
        groups.setdefault(key, []).append(lack)
    return groups


def _told(group: Sequence[Lack], machines: int) -> str:
    """Of those that lend too little the one with the most speaks for all."""
    best = max(group, key=lambda lack: lack.has)
    most = ", at most" if any(lack.has != best.has for lack in group) else ""
    return f"{best.words} ({len(group)} of {machines}{most})"


def _advice(want: Requirement, spec: TaskSpec, adverts: Iterable[ResourceAdvert]) -> str:
    if want is Requirement.GPU:
        models = {gpu.model for advert in adverts if advert.lends for gpu in advert.gpus}
        return f"There are: {_some(models)}" if models else "No machine lends a GPU"
    if want is Requirement.ENVIRONMENT and spec.built is None:
        return _environments(spec.env, adverts)
    return _ADVICE.get(want, "")


def _environments(env: str, adverts: Iterable[ResourceAdvert]) -> str:
    names = {name for advert in adverts if advert.lends for name in advert.environments}
    if not env.startswith(BUILD):
        return f"There are: {_some(named_by_owner(sorted(names)))}"
    if env == f"{BUILD}{IMAGE}":
        return ""
    versions = {name.removeprefix(BUILD) for name in names if name.startswith(BUILD)} - {IMAGE}
    return (
        f"Machines have CPython {_some(versions)}: requires-python or .python-version asks for "
        "another, or a machine needs that one installed"
    )


def _some(names: Iterable[str]) -> str:
    """Names that peers say, harmless and not too many."""
    known = [name[:_NAME_CHARS_SHOWN] for name in sorted(set(names)) if name.isprintable()]
    more = ", ..." if len(known) > _NAMES_SHOWN else ""
    return f"{', '.join(known[:_NAMES_SHOWN])}{more}" or "none"
