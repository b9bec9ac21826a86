"""`run -- COMMAND`: this folder's program on the machine of the pool that suits it best."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.nouns.up import node_options, start
from swarmnode.cli.output import output_option, printable
from swarmnode.cli.project import changes, packages
from swarmnode.cli.project.foresight import foresee
from swarmnode.cli.project.hints import (
    is_python,
    of_failure,
    of_left_out,
    of_network,
    of_program,
    refuse_missing,
)
from swarmnode.cli.project.itself import Itself, is_own_script, itself_of
from swarmnode.cli.project.places import (
    data_from_here,
    from_here,
    name_of,
    pattern_from_here,
    stand_in,
)
from swarmnode.cli.project.sending import Sending, looked_at, project_here
from swarmnode.cli.project.stdin import piped
from swarmnode.cli.talk import node, wait_option
from swarmnode.cli.task import data as task_data
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task import inputs as task_inputs
from swarmnode.cli.task.inputs import Input
from swarmnode.cli.task.named import refuse_missing_secrets, refuse_misspelt_env
from swarmnode.cli.task.options import submit_options
from swarmnode.cli.task.spec import merge_flags, read_spec
from swarmnode.cli.task.submitting import (
    CommandBehind,
    Stayed,
    leave_it,
    post,
    show_dry_run,
    stay_with,
)
from swarmnode.cli.task.wrapped import FROM_FILE, INTO
from swarmnode.home.folders import locate

if TYPE_CHECKING:
    from swarmnode.cli.project.results import Bringer
    from swarmnode.project.environment.lock import Lock
    from swarmnode.project.root import Project

_NO_COMMAND: Final = "give a COMMAND after --: swarm run [OPTIONS] -- python train.py"
_NODE_FLAGS: Final = ("profile", "addresses", "api_tcp", "log_level")
_PACKAGES: Final = ("extras", "groups")
"""Of [tool.swarm], what says which packages, and is nothing of a task."""
_SIGNAL_PATH: Final = "/api/v1/tasks/{task}/signal"
"""As old as `changes`."""


@click.command(cls=CommandBehind, context_settings={"allow_interspersed_args": False})
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option(
    "--all-files", is_flag=True, help="Also what git ignores; .swarmignore still leaves out."
)
@click.option(
    "--allow-build", is_flag=True, help="Packages without wheels are built, in the sandbox."
)
@click.option(
    "--extra", "extras", multiple=True, metavar="NAME", help="Also this extra's packages."
)
@click.option(
    "--group", "groups", multiple=True, metavar="NAME", help="Also this group's packages."
)
@click.option("-n", "--no-stdin", is_flag=True, help="What is piped in stays here.")
@submit_options
@node_options
@wait_option
@output_option
def run(argv: tuple[str, ...], **flags: Any) -> int:  # noqa: ANN401  (one per option: see Flags)
    """Run this folder's program on the pool: run -- COMMAND.

    The folder goes along, as far as git would commit it and .swarmignore does not say otherwise;
    the command begins in the same folder of it, its output is copied here, its exit code is ours,
    and what --out names comes back to its place, or beside a file of yours that has changed since.
    [tool.swarm] in pyproject.toml may say what options say. The first Ctrl-C is the program's, a
    second one cancels; --detach returns at once.

    Without COMMAND: `run` of [tool.swarm], else as `up`, this machine's node in the foreground.
    """
    node_flags = {name: flags.pop(name) for name in _NODE_FLAGS}
    if not argv and flags["spec_file"] is None:
        argv = _command_of_project(node_flags)
        if not argv:
            _refuse_without_command(flags)
            _refuse_beside_a_node()
            start(**node_flags)
    if any(node_flags.values()):
        raise click.UsageError("--profile, --listen, --api-tcp, --log-level are options of up")
    return _send(argv, **flags)


def _send(
    argv: tuple[str, ...],
    *,
    all_files: bool,
    no_stdin: bool,
    spec_file: Path | None,
    inputs: tuple[str, ...],
    datasets: tuple[str, ...],
    keep_inputs: bool,
    detach: bool,
    dry_run: bool,
    cancel_on_interrupt: bool,
    wait_s: float,
    fmt: str,
    **flags: Any,  # noqa: ANN401
) -> int:
    project = project_here()
    spec = _spec_of(project, spec_file, flags, argv)
    lock = _lock_of(project, spec, argv, flags)
    wanted = from_here(project, spec, task_inputs.read(inputs))
    data = _checked_data(project, spec, datasets, wanted)
    own = itself_of(project, has_image=lock is not None and lock.image is not None)
    sending = looked_at(project, takes_all=all_files)
    _refuse_missing(argv, project, spec, wanted, sending)
    bringer = _bringer(sending, spec) if not (dry_run or detach) else None
    with node(wait_s) as client:
        _refuse_unknown(client, spec, data, may_wait=detach)
        lock = packages.where_known(client, lock)
        if dry_run:
            return _show(sending, project, client, spec, lock, fmt)
        packages.provide(client, spec, lock)
        task_data.resolve(client, spec, data)
        _send_along(client, spec, sending, own, wanted, no_stdin=no_stdin, is_kept=keep_inputs)
        if detach:
            return leave_it(client, spec, fmt)
        stayed = _stay(client, spec, fmt, is_as_local=not cancel_on_interrupt)
        _explain(stayed, project, sending, spec, lock)
        return _brought(client, stayed, bringer)


def _refuse_unknown(
    client: Client, spec: Document, data: Sequence[task_data.WantedData], *, may_wait: bool
) -> None:
    """Names of secrets, environments and datasets that there are not. Raises CliError."""
    refuse_missing_secrets(client, spec)
    if not may_wait:
        refuse_misspelt_env(client, spec)
    task_data.refuse_unknown(client, data)


def _refuse_missing(
    argv: tuple[str, ...],
    project: "Project",
    spec: Document,
    wanted: list[Input],
    sending: Sending,
) -> None:
    if argv and not wanted and not spec.get("inputs"):
        refuse_missing(argv, project.root, project.within, sending.names())


def _checked_data(
    project: "Project", spec: Document, given: tuple[str, ...], wanted: list[Input]
) -> Sequence[task_data.WantedData]:
    """The datasets, when they and the inputs are what the node would take. Raises CliError."""
    data = task_data.checked(spec, data_from_here(project, given, spec))
    task_inputs.check(spec, [*wanted, stand_in()])
    return data


def _forget_unknown(client: Client, spec: Document) -> None:
    """A node of an older version does not know `changes`, which nobody may have asked for."""
    known = client.get("/api/v1/openapi.json")
    if _SIGNAL_PATH not in known["paths"] and spec.pop("changes", False):
        task_follow.say("the node here is an older one: it does not tell what is changed")


def _send_along(
    client: Client,
    spec: Document,
    sending: Sending,
    own: Itself,
    wanted: list[Input],
    *,
    no_stdin: bool,
    is_kept: bool,
) -> None:
    """The project, what is told of it, inputs, and what is piped in."""
    with piped(is_wanted=not no_stdin) as given, own.folder() as told:
        task_follow.say(sending.words())
        more = filter(None, (given, told))
        _store(client, spec, sending, [*wanted, *more], is_kept=is_kept)
    spec["run"] = [*(FROM_FILE if given else ()), *spec["run"]]
    own.show(spec)
    _forget_unknown(client, spec)


def _store(
    client: Client, spec: Document, sending: Sending, wanted: list[Input], *, is_kept: bool
) -> None:
    """The project and what goes along besides: into the pool, and into the spec."""
    folder = task_inputs.put_folder(client, sending.name, sending.folder(), is_kept)
    whole = [*wanted, Input(task_inputs.WORK_FOLDER, cap=folder)]
    stored = task_inputs.upload(whole, client, is_kept=is_kept)
    spec["inputs"] = {**(spec.get("inputs") or {}), **stored}


def _command_of_project(node_flags: Mapping[str, Any]) -> tuple[str, ...]:
    """`run` in [tool.swarm]; empty where there is none, or a node is plainly meant."""
    if any(node_flags.values()):
        return ()
    home, here = Path(os.path.expanduser("~")).resolve(), Path.cwd()
    if home.is_relative_to(here):  # no project: where services begin
        return ()
    run = project_here().settings.get("run", ())
    if isinstance(run, str) or not all(isinstance(word, str) for word in run):
        raise exits.CliError('[tool.swarm]: run is a list of words: ["python3", "x.py"]', 2)
    return tuple(run)


def _refuse_beside_a_node() -> None:
    """Who has one already meant to run something on it."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(1.0)
        try:
            asked.connect(str(locate(os.environ).api_socket))
        except OSError:  # nobody is there: it is the node that is meant
            return
    raise click.UsageError(f"a node already runs here: {_NO_COMMAND}")


def _refuse_without_command(flags: Mapping[str, Any]) -> None:
    unsaid = {"fmt": "table", "wait_s": 0.0}
    if any(value not in (None, (), False, unsaid.get(name)) for name, value in flags.items()):
        raise click.UsageError(_NO_COMMAND)


def _spec_of(
    project: "Project", file: Path | None, flags: Mapping[str, Any], argv: tuple[str, ...]
) -> Document:
    """[tool.swarm], then the file, then the flags. Raises CliError."""
    spec: Document = {"name": name_of(project.root), **project.settings, **read_spec(file)}
    outputs = tuple(pattern_from_here(project, pattern) for pattern in flags["outputs"])
    merge_flags(spec, {**flags, "outputs": outputs}, argv)
    if not spec.get("outputs"):
        spec.setdefault("changes", True)  # told at the end, and brought by task get
    if project.within and isinstance(spec.get("run"), list):
        spec["run"] = [*INTO, os.fsdecode(b"/".join(project.within)), *spec["run"]]
    return spec


def _lock_of(
    project: "Project", spec: Document, argv: Sequence[str], flags: Mapping[str, Any]
) -> "Lock | None":
    """Of the packages that the project names; a name of machines stays in the spec."""
    for key in _PACKAGES:
        spec.pop(key, None)
    asked = (flags["extras"], flags["groups"])
    wish = str(spec.get("env") or "") or packages.of_script(project, argv)
    if spec.get("built") or not packages.is_file(project, wish):
        return None
    spec.pop("env", None)
    lock = packages.lock_here(project, wish, asked, allow_build=flags["allow_build"])
    if lock is not None:
        return lock
    other = "" if wish else packages.not_read(project)
    if not wish and (is_python(argv) or is_own_script(project, argv)):
        if other:
            task_follow.say(other)
        return packages.interpreter(project, argv[0])
    task_follow.say(f"no environment: the machine's own programs{other and f'; {other}'}")
    return None


def _show(
    sending: Sending,
    project: "Project",
    client: Client,
    spec: Document,
    lock: "Lock | None",
    fmt: str,
) -> int:
    """Where it would go, in which environment, and what would be sent."""
    can_have = lock is None or foresee(client, spec, lock)
    task_follow.say(sending.words().replace("sending", "would send", 1))
    for name in sending.left_out():
        task_follow.say(printable(f"  left out: {name}"))
    code = show_dry_run(client, spec, fmt)
    return code if can_have else exits.TEMPORARY


def _bringer(sending: Sending, spec: Document) -> "Bringer | None":
    """Made before anything runs: where nothing could be brought, that is said now."""
    from swarmnode.cli.project.results import Bringer

    return Bringer(sending.root, sending.choice.found) if spec.get("outputs") else None


def _stay(client: Client, spec: Document, fmt: str, *, is_as_local: bool) -> Stayed:
    task = post(client, "", spec)["task"]
    return stay_with(client, task, fmt, cancel_on_interrupt=True, is_as_local=is_as_local)


def _brought(client: Client, stayed: Stayed, bringer: "Bringer | None") -> int:
    """Its own code if that is bad, else that of what could not be brought."""
    code, detail = exits.OK, stayed.detail
    if bringer is not None and detail is not None and detail["outputs"]:
        code = bringer.bring(client, detail)
    elif detail is not None:
        for made in (one for one in detail["outputs"] if one["tree"]):
            task_follow.say(changes.told(client, detail["task"], made))
    return stayed.code or code


def _explain(
    stayed: Stayed, project: "Project", sending: Sending, spec: Document, lock: "Lock | None"
) -> None:
    """What helps where a module, a program or the network lacked."""
    from swarmnode.project.root import scripts_in

    if not stayed.code:
        return
    seen = "" if spec.get("built") else str(spec.get("env", ""))
    said = stayed.last_words
    words = of_left_out(said, sending.choice.passed_over)
    words = words or of_failure(said, project.within, sending.names(), seen, packages.lacks(lock))
    words = words or of_program(
        said, scripts_in(project.root), has_packages=bool(seen or spec.get("built"))
    )
    if not spec.get("net"):
        words = words or of_network(said)
    if words:
        task_follow.say(words)
