"""The line that helps: where a command cannot run as it was typed, and where a module lacked."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmnode.cli import exits
from swarmnode.cli.files import folders
from swarmnode.tree.format import EntryKind

if TYPE_CHECKING:
    from swarmnode.tree.names import Parts
    from swarmnode.tree.scan import Found

_PYTHON: Final = re.compile(r"(?:.*/)?(?:python|pypy)[0-9.]*")
_INTERPRETER: Final = re.compile(r"python(3(\.\d+)?)?")
_IGNORED: Final = (
    "does not go along: git ignores it, or .swarmignore does (a line !{} in .swarmignore brings it)"
)
_NO_PIP: Final = (
    "an environment is not changed by tasks: name the package in the file that it is made from "
    "(requirements.txt, pyproject.toml, uv.lock)"
)
_FIRST_BYTES: Final = 512
_WITH_VALUE: Final = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_NO_MODULE: Final = re.compile(
    r"(?:ModuleNotFoundError|(?:python|pypy)[0-9.]*): "
    r"No module named (?!\S+\.__main__;)'?([^'.\s]+)((?:\.\w+)*)"
)
_NO_PROGRAM: Final = re.compile(
    r"execvp ([\w./+-]+): No such file|exec: (?:line \d+: )?([\w./+-]+): not found"
)
_NO_NAME: Final = re.compile(
    r"Temporary failure in name resolution|getaddrinfo failed|Could not resolve host"
)


def refuse_missing(
    argv: Sequence[str], root: Path, within: "Parts", sent: "Mapping[Parts, Found]"
) -> None:
    """A script or program of the project that will not be there. Raises CliError.

    For commands that get nothing but the project: other inputs may bring what is named.
    """
    _refuse_elsewhere(within, sent)
    if "/" not in argv[0] and (found := _sent(argv[0], within, sent)) is not None:
        _refuse_bare(argv[0], found)
        return
    script = script_of(argv)
    if script is None or os.path.isabs(script):
        return
    if _leads_by_link(script, within, sent):
        return
    found = _sent(script, within, sent)
    if found is None:
        raise exits.CliError(_lacking(script, root, within, sent), exits.USAGE)
    if script == argv[0] and found.kind is EntryKind.FILE and not found.mode & 0o111:
        raise exits.CliError(f"{script} may not be run: chmod +x {script}", exits.USAGE)
    if script == argv[0] and found.kind is EntryKind.FILE:
        _refuse_unstartable(script, root.joinpath(*map(os.fsdecode, found.parts)))


def _refuse_unstartable(script: str, file: Path) -> None:
    """A text that says of no program that it should run it. Raises CliError."""
    try:
        with file.open("rb") as opened:
            first = opened.read(_FIRST_BYTES)
    except OSError as error:
        raise folders.cannot_read(file, error) from error
    line = first.partition(b"\n")[0]
    program = "python3" if script.endswith(".py") else "sh"
    if not first or (b"\0" not in first and not first.startswith(b"#!")):
        why = f"has no first line such as #!/usr/bin/env {program}: swarm run -- {program} {script}"
    elif line.startswith(b"#!") and line.endswith(b"\r"):
        why = "has lines that end as those of Windows do, its first one (#!) too: dos2unix mends it"
    elif line.startswith(b"#!") and b"uv run" in line:
        why = f"wants uv, which tasks do not have or need: swarm run -- python {script}"
    else:
        return
    raise exits.CliError(f"{script} {why}", exits.USAGE)


def _refuse_bare(name: str, found: "Found") -> None:
    """A file of the project as the command: programs are looked for elsewhere."""
    if found.kind is not EntryKind.FILE:
        return  # `black .` in the folder of black itself
    if name.endswith(".py"):
        raise exits.CliError(f"{name} is no program: swarm run -- python3 {name}", exits.USAGE)
    if found.mode & 0o111:
        raise exits.CliError(f"{name} lies here: swarm run -- ./{name}", exits.USAGE)


def is_python(argv: Sequence[str]) -> bool:
    """Whether a command needs an interpreter, and does not say which file that is."""
    if not argv or argv[0].startswith("/"):
        return False
    return bool(_INTERPRETER.fullmatch(argv[0])) or argv[0].endswith(".py")


def script_of(argv: Sequence[str]) -> str | None:
    """The file of the project that is to be run, if it is one."""
    if "/" in argv[0] and not _PYTHON.fullmatch(argv[0]):
        return argv[0]
    if not _PYTHON.fullmatch(argv[0]):
        return None
    rest = iter(argv[1:])
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif word in ("-", "--") or re.match(r"-[A-Za-z]*[mc]", word):
            return None
        elif not word.startswith("-"):
            return word
    return None


def _refuse_elsewhere(within: "Parts", sent: "Mapping[Parts, Found]") -> None:
    if within and within not in sent:
        where = os.fsdecode(b"/".join(within))
        raise exits.CliError(
            f"{where}, where the command would begin, does not go along: cd out of it, or bring it "
            f"by a line !{where}/ in .swarmignore",
            exits.USAGE,
        )


def _leads_by_link(name: str, within: "Parts", sent: "Mapping[Parts, Found]") -> bool:
    """A folder on the way is a link: where that leads is not ours to say."""
    parts = (*within, *os.fsencode(name).split(b"/"))
    around = (sent.get(parts[:depth]) for depth in range(1, len(parts)))
    return any(found is not None and found.kind is EntryKind.LINK for found in around)


def _sent(name: str, within: "Parts", sent: "Mapping[Parts, Found]") -> "Found | None":
    """What is sent under that name, as seen from the folder in which the command begins."""
    parts = list(within)
    for part in os.fsencode(name).split(b"/"):
        if part == b".." and parts:
            parts.pop()
        elif part not in (b"", b".", b".."):
            parts.append(part)
    return sent.get(tuple(parts))


def _lacking(name: str, root: Path, within: "Parts", sent: "Mapping[Parts, Found]") -> str:
    here = root.joinpath(*map(os.fsdecode, within))
    if os.path.lexists(here / name):
        place = os.path.normpath(os.path.join(_text(within), name))
        return f"{name} {_IGNORED.format(place)}"
    depth = len(within)
    names = [os.fsdecode(b"/".join(parts[depth:])) for parts in sent if parts[:depth] == within]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f": did you mean {folders.shown(near[0])}?" if near else ""
    return f"no file {name} in {folders.shown(here)}{hint}"


def _text(parts: "Parts") -> str:
    return os.fsdecode(b"/".join(parts))


def of_failure(
    stderr: bytes, within: "Parts", sent: "Mapping[Parts, Found]", env: str, lacks: str = ""
) -> str:
    """What a failed program's last words ask for; empty: nothing that we know.

    `lacks` is what to say of a module instead, where the environment is the project's own.
    """
    found = _NO_MODULE.search(stderr.decode("utf-8", "replace"))
    return _of_module(found[1], within, sent, env, lacks) if found else ""


def of_left_out(stderr: bytes, left_out: "Sequence[Parts]") -> str:
    """Where a module lacked that lies here and does not go along, such as one that a builder
    wrote; empty: nothing of the kind."""
    found = _NO_MODULE.search(stderr.decode("utf-8", "replace"))
    if found is None:
        return ""
    *above, last = os.fsencode(found[1] + found[2]).split(b".")
    ends = ((*above, last + b".py"), (*above, last))
    for parts in left_out:
        if any(parts[-len(end) :] == end for end in ends):
            return f"{_text(parts)} {_IGNORED.format(_text(parts))}"
    return ""


def of_program(stderr: bytes, scripts: Mapping[str, str], *, has_packages: bool) -> str:
    """Where the command itself is not there; `scripts` of the project lead to modules."""
    found = _NO_PROGRAM.search(stderr.decode("utf-8", "replace"))
    if found is None:
        return ""
    name = found[1] or found[2]
    if name in scripts:
        python = "python" if has_packages else "python3"
        return (
            f"no program {name} there: nothing says how the project is installed ([build-system] "
            f"in pyproject.toml would): {python} -m {scripts[name]}"
        )
    if name == "uv":
        return "no program uv there, and none is needed: leave out `uv run` before the command"
    if _INTERPRETER.fullmatch(name) and not has_packages:
        return f"no program {name} there: --env python brings one"
    return f"no program {name} on the machine that ran it"


def of_network(stderr: bytes) -> str:
    """For a task that has none, and looked for a host."""
    if _NO_NAME.search(stderr.decode("utf-8", "replace")) is None:
        return ""
    return "the task has no network: --net HOST (or pypi, hf, wandb, github, internet) gives it one"


def _of_module(
    module: str, within: "Parts", sent: "Mapping[Parts, Found]", env: str, lacks: str
) -> str:
    names = (os.fsencode(module), os.fsencode(f"{module}.py"))
    places = [parts[:-1] for parts in sent if parts and parts[-1] in names]
    if not within:  # what begins at the root looks there by itself
        places = [place for place in places if place]
    if places:
        shortest = min(places, key=len)
        place = os.path.relpath(_text(shortest) or ".", _text(within) or ".")
        return f"{module} lies in {place}/: --set PYTHONPATH={place}"
    if lacks:
        return _NO_PIP if module == "pip" else lacks.format(module)
    where = f"environment {env}" if env else "the machine's own Python"
    return (
        f"{where} has no {module}: name an environment that has it (--env NAME), "
        "or what brings it in requirements.txt"
    )
