"""`task submit | show | logs | explain`, and the group of all `task` commands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from swarmnode.cli import exits
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, output_option
from swarmnode.cli.talk import node, wait_option
from swarmnode.cli.task import data as task_data
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task import inputs as task_inputs
from swarmnode.cli.task import logs as task_logs
from swarmnode.cli.task.get import get
from swarmnode.cli.task.many import cancel, ls, retry, rm, signal, wait
from swarmnode.cli.task.named import refuse_missing_secrets, refuse_misspelt_env
from swarmnode.cli.task.names import resolve
from swarmnode.cli.task.options import submit_options
from swarmnode.cli.task.spec import merge_flags, read_spec
from swarmnode.cli.task.submitting import (
    CommandBehind,
    leave_it,
    post,
    print_rounds,
    show_dry_run,
    stay_with,
)
from swarmnode.cli.task.tables import print_task


@click.group(cls=NearestGroup)
def task() -> None:
    """Run commands on the pool's machines."""


@task.command("submit", cls=CommandBehind)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND...")
@submit_options
@wait_option
@output_option
def submit(
    argv: tuple[str, ...],
    spec_file: Path | None,
    inputs: tuple[str, ...],
    datasets: tuple[str, ...],
    keep_inputs: bool,
    detach: bool,
    dry_run: bool,
    cancel_on_interrupt: bool,
    wait_s: float,
    fmt: str,
    **flags: Any,  # noqa: ANN401  (one per option: see Flags)
) -> int:
    """Run COMMAND on whatever machine of the pool suits it best.

    Its output is copied here and its exit code is ours: 125 it could not be started, 126 not
    executed, 127 not found, 75 nobody could run it just now. After --detach, or after Ctrl-C, the
    task goes on by itself; --detach returns when it would do so without this machine.
    """
    spec = read_spec(spec_file)
    merge_flags(spec, flags, argv)
    if spec_file is None and not argv:
        raise click.UsageError("give a COMMAND after --, or a file with --spec")
    wanted = task_inputs.read(inputs)
    data = task_data.checked(spec, task_data.read(datasets, spec))
    task_inputs.check(spec, wanted)
    with node(wait_s) as client:
        refuse_missing_secrets(client, spec)
        if not detach:
            refuse_misspelt_env(client, spec)
        task_data.refuse_unknown(client, data)
        if wanted:
            stored = task_inputs.upload(wanted, client, is_kept=keep_inputs)
            spec["inputs"] = {**(spec.get("inputs") or {}), **stored}
        if dry_run:
            return show_dry_run(client, spec, fmt)
        task_data.resolve(client, spec, data)
        if detach:
            return leave_it(client, spec, fmt)
        return stay_with(client, post(client, "", spec)["task"], fmt, cancel_on_interrupt).code


@task.command("show")
@click.argument("task_id")
@output_option
def show(task_id: str, fmt: str) -> None:
    """Show everything known about a task."""
    with node() as client:
        detail = client.get(f"/api/v1/tasks/{resolve(client, task_id)}")
        if fmt == "table":
            print_task(detail, Machines.seen_by(client))
        else:
            emit(detail, fmt)


@task.command("logs")
@click.argument("task_id")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task ends.")
@click.option("--stream", type=click.Choice(["both", *task_follow.STREAMS]), default="both")
@click.option(
    "--attempt", type=click.IntRange(0), default=0, help="Only this one, as task show numbers them."
)
@output_option
def logs(task_id: str, follow: bool, stream: str, attempt: int, fmt: str) -> int:
    """Print what a task printed: its stdout to ours, its stderr to ours.

    Of all its attempts, those that were lost among them. With -o jsonl every line is an object, as
    soon as it has ended. Ends when nobody reads it any more; with 6 when the task has ended and the
    rest of its output is at another machine.
    """
    kept = task_follow.STREAMS if stream == "both" else {stream: 1}
    lines, whole = task_logs.Lines(kept), task_logs.Whole(kept)
    sinks = {
        "table": task_logs.to_our_own() if stream == "both" else task_logs.to_stdout(stream),
        "jsonl": lines.sinks(),
        "json": whole.sinks(),
    }[fmt]
    rest = _copy_logs(task_id, sinks, follow=follow, attempt=attempt)
    if rest is None:
        task_logs.leave_quietly()
        return exits.READER_GONE
    if fmt == "jsonl":
        lines.end()
    elif fmt == "json":
        emit(whole.texts(), fmt)
    if rest:
        task_follow.say(rest)
    return exits.DEGRADED if rest else exits.OK


def _copy_logs(
    task_id: str, sinks: Mapping[str, task_logs.Sink], *, follow: bool, attempt: int
) -> str | None:
    """Where the rest is, in words, empty for all; None as soon as nobody reads us any more."""
    with node() as client:
        made = resolve(client, task_id)
        path = f"/api/v1/tasks/{made}"
        detail = client.get(path)  # an unknown task is one line, not two streams
        copier = task_logs.Copier(client, made, sinks, follow=follow, attempt=attempt)
        if not copier.finish():
            return None
        # What lacked when we began to read may have come since; who followed has it then.
        detail = client.get(path) if follow else detail
        return task_logs.rest_of(client, detail, was_waited_for=follow)


@task.command("explain")
@click.argument("task_id")
@output_option
def explain(task_id: str, fmt: str) -> None:
    """Show why a task is where it is: every auction, bid, score part and refusal."""
    with node() as client:
        explanation = client.get(f"/api/v1/tasks/{resolve(client, task_id)}/explain")
        if fmt == "table":
            click.echo(
                f"{explanation['state']}{': ' + explanation['why'] if explanation['why'] else ''}"
            )
            print_rounds(client, explanation["rounds"])
        else:
            emit(explanation, fmt)


for command in (ls, wait, signal, cancel, retry, rm, get):
    task.add_command(command)
