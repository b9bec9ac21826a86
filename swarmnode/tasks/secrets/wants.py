"""What a task wants of its person's secrets: names alone, never a value.

    secrets = ["WANDB_API_KEY", "hf=HF_TOKEN", "key=/run/secrets/id_ed25519"]

Each lies as a file in /run/secrets under its name. Besides, it is a variable (of its name where
nothing else is said), or a file of another name there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from p2p.ids import LabId
from swarmnode.tasks.secrets.hidden import looks_secret
from swarmnode.tasks.secrets.limits import SECRET_NAME_CHARS_MAX, SECRETS_PER_TASK_MAX

FOLDER: Final = "/run/secrets"
SECRET_REASON: Final = "secret"  # noqa: S105  (a word for people)
"""Of a task that ended because a secret of it was removed."""
NAMES_TOLD_MAX: Final = 2
"""In one text: with all of them it could be longer than an outcome may be."""
ANY_LAB: Final = "any"
"""In `secret_to`: machines of every lab may be given the task's secrets."""

_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{SECRET_NAME_CHARS_MAX - 1}}}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_WORDS: Final = "letters, digits, _ - and . only, and no - or . in front"
_OURS: Final = "SWARM_"
SET_BY_NODE: Final = frozenset((
    "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PWD",
    "PYTHONPATH", "PYTHONUNBUFFERED", "TMPDIR", "USER",
))  # fmt: skip
"""Variables of every task (swarmnode.executor.sandbox.command): a secret in one would be lost."""


class JobSecrets(msgspec.Struct, frozen=True):
    """What a job is given besides, and nobody else: never written to a disk, nor shown.

    Names and values become words of the sandbox's command line, with NUL between them, and come
    from whoever acts for the task: one with a NUL byte would be words of its own, and let the job
    out. ValueError for such.
    """

    variables: Mapping[str, bytes]
    """Without NUL bytes."""
    files: Mapping[str, bytes]
    """By name in /run/secrets."""

    def __post_init__(self) -> None:
        if odd := [name for name in self.files if not is_secret_name(name)]:
            raise ValueError(f"{odd[0][:40]!r} is no name of a file in {FOLDER}")
        for variable, value in self.variables.items():
            if "\0" in variable or "=" in variable or b"\0" in value:
                raise ValueError(f"the variable {variable[:40]!r} would have a NUL byte")

    def __repr__(self) -> str:
        return f"JobSecrets({sorted(self.files)})"


Wants = tuple[tuple[str, str], ...]
"""(name, variable or path in FOLDER) of each, by name."""


def is_secret_name(text: str) -> bool:
    """Whether a secret may be called that."""
    return bool(_NAME.fullmatch(text))


def checked_name(text: str) -> str:
    """Raises ValueError with a text for people."""
    if not is_secret_name(text):
        raise ValueError(
            f"{text[:40]!r} is no name of a secret: {_WORDS}, {SECRET_NAME_CHARS_MAX} at most"
        )
    return text


def wants_of(texts: Sequence[str]) -> Wants:
    """`NAME` or `NAME=VARIABLE_OR_PATH`, each name once. Raises ValueError."""
    wants: dict[str, str] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        if checked_name(name) in wants:
            raise ValueError(
                f"{name!r} is asked for twice: name it once, {FOLDER}/{name} has it in any case"
            )
        wants[name] = _not_the_node_s(name, _place(name, where) if equals else name)
    if len(wants) > SECRETS_PER_TASK_MAX:
        raise ValueError(f"{len(wants)} secrets, limit {SECRETS_PER_TASK_MAX}")
    made = tuple(sorted(wants.items()))
    if fault := _clash(made):
        raise ValueError(fault)
    return made


def text_of(name: str, where: str) -> str:
    """As `wants_of` reads it."""
    return name if name == where else f"{name}={where}"


def variables_of(wants: Wants) -> dict[str, str]:
    """Variable -> name of the secret that it holds."""
    return {where: name for name, where in wants if not where.startswith("/")}


def files_of(wants: Wants) -> dict[str, str]:
    """File in FOLDER -> name of the secret that it holds."""
    files = {name: name for name, _ in wants}
    return files | {where.rpartition("/")[2]: name for name, where in wants if where[:1] == "/"}


def _place(name: str, where: str) -> str:
    if where.startswith("/"):
        folder, _, file = where.rpartition("/")
        if folder != FOLDER or not is_secret_name(file):
            raise ValueError(f"{name}: {where!r} is not a file right in {FOLDER}: {_WORDS}")
        return where
    if not _VARIABLE.fullmatch(where) or looks_secret("", where):  # perhaps the value: not told
        raise ValueError(
            f"{name}: behind = stands a variable's name or a path in {FOLDER}, never the secret"
        )
    return where


def _not_the_node_s(name: str, variable: str) -> str:
    if variable.startswith(_OURS) or variable in SET_BY_NODE:
        raise ValueError(
            f"{name}: {variable} is set by the node: give the secret another variable "
            f"({name}=VARIABLE)"
        )
    return variable


def _clash(wants: Wants) -> str:
    """Two that would be in one place; empty where there are none."""
    places: dict[str, str] = {f"{FOLDER}/{name}": name for name, _ in wants}
    for name, where in wants:
        if places.setdefault(where, name) != name:
            return f"{where!r} would be two secrets: {name} and {places[where]}"
    return ""


def may_have(secret_to: Sequence[str], lab: LabId | None, own_lab: LabId | None) -> bool:
    """Whether a machine of that lab may be given a task's secrets."""
    return lab is not None and (lab == own_lab or lab in secret_to or ANY_LAB in secret_to)


def may_keep(secret_to: Sequence[str], lab: LabId | None, own_lab: LabId | None) -> bool:
    """Whether one may keep them for others: a lab that is named besides runs tasks, no more."""
    return lab is not None and (lab == own_lab or ANY_LAB in secret_to)


def lost_words(names: Sequence[str]) -> str:
    """Why a task whose secrets were removed starts nowhere any more."""
    more = f" and {len(names) - NAMES_TOLD_MAX} more" if len(names) > NAMES_TOLD_MAX else ""
    told = ", ".join(map(repr, names[:NAMES_TOLD_MAX])) + more
    return (
        f"secret {told} was removed: set it again (swarmnode secret set) and submit the task anew"
    )
