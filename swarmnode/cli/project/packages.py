"""The packages that a project names, as an environment of the pool: found, or built once."""

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document, Source
from swarmnode.cli.files import folders
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import printable
from swarmnode.cli.project import images
from swarmnode.cli.project.hints import script_of
from swarmnode.cli.project.locked_in import sandbox_for
from swarmnode.cli.project.own import own_or_elsewhere
from swarmnode.cli.talk import human_bytes
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task import inputs as task_inputs
from swarmnode.cli.task.submitting import Stayed, post, stay_with

if TYPE_CHECKING:
    from swarmnode.project.environment.lock import Lock
    from swarmnode.project.root import Project

_FIND: Final = "/api/v1/environments/find"
_WRITTEN: Final = 6
"""Times the size of its packed packages, at most, a build is expected to write: each is unpacked,
to twice or three times its size, and copied. A GiB more is for the interpreter and small ones."""
_BUILD_ROOM: Final = (("nvidia-", "18G"), ("torch", "10G"), ("tensorflow", "10G"), ("jax", "10G"))
"""The same where their sizes are not known, by what is among them."""
_BUILD_ROOM_ELSE: Final = "4G"
_UNPACKED: Final = 5
"""Times the size of an image, at most, it is expected to have unpacked: layers are often packed."""
_NAME_SHOWN: Final = 90
_INDEXES: Final = "pypi"
"""Of the network, what a build reaches."""
_BUILD_TIMEOUT: Final = "2h"
_AWAITED_S, _AGAIN_S = 1800.0, 1.0
"""How long another machine's word is believed that it has it built, and how often it is asked."""
_RETRIES: Final = 2
"""A machine that cannot reach an index is not the last one."""
_LACKS: Final = "the environment has no {}: name what brings it in the file that it is made from"
_LACKS_ALL: Final = (
    "{} is not there, as no packages are named: write what brings it into requirements.txt"
)
_NO_PACKAGES: Final = "no packages"
"""What an interpreter by itself is made from."""


def lock_here(
    project: "Project",
    wish: str,
    asked: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    *,
    allow_build: bool = False,
    again: bool = False,
) -> "Lock | None":
    """What the project needs, resolved; None where nothing says anything. Raises CliError.

    `wish` is a file of the project, an image, `python`, or `none`, or empty: what there is; `asked`
    are the extras and groups that its [tool.swarm] does not name already.
    """
    from swarmnode.errors import ProjectError
    from swarmnode.project.environment.find import PYTHON, refuse_parts, source_of
    from swarmnode.project.environment.indexes import indexes_here
    from swarmnode.project.environment.lock import lock_of
    from swarmnode.project.environment.others import beside
    from swarmnode.project.environment.parts import parts_in

    try:
        parts = parts_in(project.settings, *asked)
        if wish == PYTHON:
            refuse_parts(parts, f"--env {PYTHON}")
            return interpreter(project)
        if images.is_image(project, wish):
            refuse_parts(parts, "an image")
            return images.lock_of(project, wish)
        source = source_of(project.root, wish, sys.version_info[:2], parts)
        if source is None:
            return None
        own = own_or_elsewhere(project.root)
        indexes = indexes_here(os.environ, Path(os.path.expanduser("~")))
        sandbox = partial(sandbox_for, project.root, indexes)
        lock = lock_of(source, own, indexes, allow_build=allow_build, again=again, sandbox=sandbox)
        for line in filter(None, (lock.doubt, beside(source.file))):
            task_follow.say(printable(line))
        return lock
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error


def interpreter(project: "Project", program: str = "") -> "Lock":
    """For who names no packages: Python by itself, of the version that `program` says if any.

    Raises CliError.
    """
    from swarmnode.errors import ProjectError
    from swarmnode.project.environment.find import python_alone
    from swarmnode.project.environment.lock import Lock

    try:
        version = python_alone(project.root, sys.version_info[:2], program)
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
    return Lock("", version, platform.machine(), False, _NO_PACKAGES, is_online=False)


def of_script(project: "Project", words: Sequence[str]) -> str:
    """The script that a command runs, as a wish, where it says itself what it needs (PEP 723)."""
    from swarmnode.errors import ProjectError
    from swarmnode.project.environment.texts import block_in

    name = script_of(words) if words else None
    if name is None or not name.endswith(".py"):
        return ""
    file = project.root.joinpath(*map(os.fsdecode, project.within), name)
    try:
        return str(file) if file.is_file() and block_in(file) else ""
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error


def not_read(project: "Project") -> str:
    """Which file names packages for another program, and what to do; empty: there is none."""
    from swarmnode.errors import ProjectError
    from swarmnode.project.environment.others import passed_over

    try:
        return passed_over(project.root)
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error


def is_file(project: "Project", wish: str) -> bool:
    """Whether `--env WISH` is a file of the project, or none at all, and no name of machines."""
    from swarmnode.project.environment.find import NONE, PYTHON, is_file_wish

    is_word = wish in ("", NONE, PYTHON)
    return is_word or is_file_wish(project.root, wish) or images.is_image(project, wish)


def key_of(lock: "Lock") -> str:
    """Under which it is looked for."""
    from swarmnode.tasks.environments.naming import key_of as made

    text = lock.text.encode()
    return made(text, lock.python, lock.machine, allow_build=lock.allow_build).hex()


def found(client: Client, lock: "Lock") -> Document | None:
    """What the pool has of it."""
    line: Document | None = asked_of(client, lock)["environment"]
    return line


def asked_of(client: Client, lock: "Lock") -> Document:
    """What the pool has of it, and who of our lab has it built just now."""
    told: Document = client.call("POST", _FIND, {"key": key_of(lock), "source": lock.name})
    return told


def where_known(client: Client, lock: "Lock | None") -> "Lock | None":
    """None where the node here is of an older version, which knows no environments."""
    if lock is None or _FIND in client.get("/api/v1/openapi.json")["paths"]:
        return lock
    task_follow.say("the node here is an older one: it knows no environments")
    return None


def words(lock: "Lock", line: Document | None) -> str:
    """In one line, what a task will see."""
    packages = "1 package" if lock.packages == 1 else f"{lock.packages} packages"
    what = f"environment of {lock.name}: {packages}, CPython {lock.python}"
    if lock.name == _NO_PACKAGES:
        what = f"no packages are named: CPython {lock.python} by itself"
    if lock.image is not None:
        what = images.words(lock)
    if line is None:
        return f"{what}; it is built once"
    on = len(line["warm"])
    warm = f", on {on} machine{'' if on == 1 else 's'}" if on else ""
    return f"{what}, {human_bytes(line['size'])}{warm}"


def lacks(lock: "Lock | None") -> str:
    """What helps where a module is not among its packages; empty: it has none to look among."""
    if lock is None:
        return ""
    return _LACKS_ALL if lock.name == _NO_PACKAGES else _LACKS


def provide(client: Client, spec: Document, lock: "Lock | None") -> None:
    """A task finds what the project names, if it names anything. Raises CliError."""
    if lock is not None:
        use(spec, have(client, lock))


def have(client: Client, lock: "Lock") -> Document:
    """It, built if need be. Raises CliError when it cannot be."""
    line = found(client, lock)
    task_follow.say(words(lock, line))
    return build(client, lock) if line is None else line


def build(client: Client, lock: "Lock") -> Document:
    """Have a machine of the pool build it, and stay with it. Raises CliError when it cannot be.

    Where another command has our node see to it just now, that is stayed with instead; where
    another machine of our lab has it built, that is waited for.
    """
    if (awaited := _awaited(client, lock)) is not None:
        return awaited
    task, is_ours = _submitted(client, spec_of_build(lock, _inputs_of(client, lock)))
    stayed = stay_with(client, task, "table", cancel_on_interrupt=is_ours)
    if not is_ours and stayed.detail is not None and stayed.detail["state"] == "cancelled":
        return build(client, lock)  # by who began it
    if stayed.detail is None:
        raise click.exceptions.Exit(stayed.code)  # we left before its end, which was said
    if stayed.code:
        raise exits.CliError(_why_not(client, lock, task, stayed), stayed.code)
    made = {"key": key_of(lock), "task": task, "source": lock.name, "private": lock.is_private}
    line: Document = client.call("POST", "/api/v1/environments/take", made)
    return line


def _awaited(client: Client, lock: "Lock") -> Document | None:
    """It, once another machine of our lab has it; None as soon as none has it built any more."""
    until_s, said, idle = time.monotonic() + _AWAITED_S, "", threading.Event()
    while True:
        told = asked_of(client, lock)
        line: Document | None = told["environment"]
        builder = told.get("building", "")
        if line is not None or not builder or time.monotonic() > until_s:
            return line
        if builder != said:
            said, name = builder, Machines.seen_by(client).label(builder)
            task_follow.say(printable(f"{name} has it built just now: waiting for that"))
        idle.wait(_AGAIN_S)


def _submitted(client: Client, spec: Document) -> tuple[str, bool]:
    """The task that builds it, and whether that is ours."""
    task = _building(client, spec["name"])
    if not task:
        ours: str = post(client, "", spec)["task"]
        task = _building(client, spec["name"]) or ours
        if task == ours:
            return ours, True
        client.call("POST", f"/api/v1/tasks/{ours}/cancel")  # two that began at once
    task_follow.say("it is being built already")
    return task, False


def _inputs_of(client: Client, lock: "Lock") -> dict[str, str]:
    from swarmnode.tasks.environments.naming import IMAGE_FILE, LOCK

    inputs = {LOCK: task_inputs.put(client, "lock", _text_of(lock), is_kept=False)}
    if lock.image is not None:
        inputs[IMAGE_FILE] = images.sent(client, lock.image)
    return inputs


def spec_of_build(lock: "Lock", inputs: dict[str, str]) -> Document:
    """The task that builds it of what is stored."""
    from swarmnode.tasks.environments.naming import BUILD, TREE, build_name

    return {
        "name": build_name(_shortened(lock.name), key_of(lock)),
        "run": _command_of(lock),
        "env": f"{BUILD}{lock.python}",
        "inputs": inputs,
        "outputs": [TREE],
        "shape": {"cpu": 1, "mem": "1G", "disk": _room_for(lock)},
        "net": [_INDEXES, *lock.net] if lock.is_online else [],
        "timeout": _BUILD_TIMEOUT,
        "retries": _RETRIES,
    }


def _shortened(name: str) -> str:
    """As a task's name may have it: names of files and images are longer, and any bytes."""
    return "".join(char if char.isprintable() else "?" for char in name)[-_NAME_SHOWN:]


def _building(client: Client, name: str) -> str:
    """The first task submitted here that builds it and has not ended; empty for none."""
    live = [
        (line["submitted_ms"], str(line["task"]))
        for line in client.get("/api/v1/tasks")
        if line["name"] == name and line["state"] not in task_follow.ENDS
    ]
    return min(live)[1] if live else ""


def _command_of(lock: "Lock") -> list[str]:
    from swarmnode.tasks.environments import naming

    if lock.image is not None:
        return [*naming.IMAGE_COMMAND]
    asked = [naming.ALLOW_BUILD] if lock.allow_build else []
    return [*naming.COMMAND, *asked, naming.UV]


def _room_for(lock: "Lock") -> str:
    if lock.image is not None:
        return f"{1 + (_UNPACKED * lock.image.size_bytes >> 30)}G"
    if lock.wheel_bytes:
        return f"{2 + (_WRITTEN * lock.wheel_bytes >> 30)}G"
    names = [line.split("=")[0].lower() for line in lock.text.splitlines()]
    for beginning, room in _BUILD_ROOM:
        if any(name.startswith(beginning) for name in names):
            return room
    return _BUILD_ROOM_ELSE


def _text_of(lock: "Lock") -> "Callable[[], AbstractContextManager[Source]]":
    @contextmanager
    def opened() -> Iterator[Source]:
        data = lock.text.encode()
        yield folders.Pieces(iter((data,)), len(data))

    return opened


def _why_not(client: Client, lock: "Lock", task: str, stayed: Stayed) -> str:
    text = stayed.last_words.decode("utf-8", "replace")
    if lock.image is not None:
        return f"the image {lock.name} could not be unpacked (swarm task logs {task})"
    where = f"the environment of {lock.name} could not be built (swarm task logs {task})"
    if "no-build" in text or "no usable wheels" in text or "no binary" in text:
        return f"{where}: --allow-build has packages without wheels built, in the sandbox"
    if "No solution found" in text or "error sending request" in text:
        # They were found here, when the lock was made.
        return (
            f"{where}: {_tried(client, stayed)} cannot reach the index or folder where these "
            "packages are; settings of pip or uv there must name it, too. --env none runs with "
            "the machine's own programs"
        )
    return where


def _tried(client: Client, stayed: Stayed) -> str:
    """The machines that did, in their order."""
    machines = Machines.seen_by(client)
    history = (stayed.detail or {}).get("history", ())
    names = list(dict.fromkeys(machines.label(attempt["provider"]) for attempt in history))
    return ", ".join(names) or "the machine that built"


def use(spec: Document, line: Document) -> None:
    """A task sees it."""
    spec["built"] = line["built"]
    spec.pop("env", None)
