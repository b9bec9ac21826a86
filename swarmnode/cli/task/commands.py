"""`task submit | show | logs | explain`, and the group of all `task` commands."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, or_said, output_option, printable, table
from swarmnode.cli.removed import say_if_out
from swarmnode.cli.talk import node, wait_option
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task import inputs as task_inputs
from swarmnode.cli.task import logs as task_logs
from swarmnode.cli.task.get import get
from swarmnode.cli.task.many import cancel, ls, retry, rm, wait
from swarmnode.cli.task.names import resolve
from swarmnode.cli.task.options import submit_options
from swarmnode.cli.task.spec import merge_flags, read_spec
from swarmnode.cli.task.tables import print_task


@click.group(cls=NearestGroup)
def task() -> None:
    """Run commands on the pool's machines."""


class _Submit(click.Command):
    """Says where options of the task's own command go."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            words = f"{error.message} Options of COMMAND itself go behind --."
            raise click.NoSuchOption(
                error.option_name, words, error.possibilities, error.ctx
            ) from error


@task.command("submit", cls=_Submit)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND...")
@submit_options
@wait_option
@output_option
def submit(
    argv: tuple[str, ...],
    spec_file: Path | None,
    inputs: tuple[str, ...],
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
    task_inputs.check(spec, wanted)
    with node(wait_s) as client:
        if wanted:
            stored = task_inputs.upload(wanted, client, is_kept=keep_inputs)
            spec["inputs"] = {**(spec.get("inputs") or {}), **stored}
        if dry_run:
            return _show_dry_run(client, client.call("POST", "/api/v1/tasks?dry_run=1", spec), fmt)
        if detach:
            _print_made(made := _posted(client, "?detach=1", spec), fmt)
            if made.get("note"):
                say_if_out(client)
            return exits.OK
        task: str = _posted(client, "", spec)["task"]
        return _stay_with(client, task, fmt, cancel_on_interrupt)


def _posted(client: Client, query: str, spec: Document) -> Document:
    """What the node answers to a task; whoever does not wait for it is told where to look."""
    try:
        made: Document = client.call("POST", f"/api/v1/tasks{query}", spec)
    except KeyboardInterrupt:
        task_follow.say("whether the task was taken on is not known: see swarmnode task ls")
        raise
    return made


def _print_made(made: Document, fmt: str) -> None:
    """The id, for scripts; beside it who holds the task, where that is not as it should be."""
    with or_said(f"task {made['task']} was submitted all the same"):
        if fmt == "table":
            click.echo(made["task"])
        else:
            emit(made, fmt)
    if fmt == "table" and (note := made.get("note")):
        task_follow.say(f"{made['task']}: {note}")


def _stay_with(client: Client, made: str, fmt: str, cancel_on_interrupt: bool) -> int:
    machines = Machines.seen_by(client)
    watcher = Watcher(machines)
    try:
        task_follow.say(f"task {made}")
        if not machines.has_others:
            say_if_out(client)
        detail = _until_its_end(client, made, watcher, copies=fmt == "table")
    except KeyboardInterrupt:
        _leave(client, made, cancels=cancel_on_interrupt)
        return exits.INTERRUPTED
    if detail is None:
        task_logs.leave_quietly()
        task_follow.say(f"nobody reads its output; see swarmnode task show {made}")
        return exits.READER_GONE
    if fmt != "table":
        emit(detail, fmt)
        return task_follow.exit_code_of(detail)
    for words in (task_logs.rest_of(client, detail), task_follow.ending_of(detail)):
        if words:
            task_follow.say(words)
    return task_follow.exit_code_of(detail)


def _until_its_end(
    client: Client, made: str, watcher: "Watcher", *, copies: bool
) -> Document | None:
    """The task; None when what it printed was to be copied and nobody reads that any more."""
    if not copies:
        return task_follow.wait_for(client, made, None, watcher.tell)
    copier = task_logs.Copier(client, made, task_logs.to_our_own(), follow=True)
    ended = task_follow.wait_for(client, made, None, watcher.tell, task_logs.reader_is_gone)
    if not copier.finish():
        return None
    # Its log may have come after its end.
    return task_follow.wait_for(client, made, None, watcher.tell) if ended.get("log_at") else ended


def _leave(client: Client, made: str, *, cancels: bool) -> None:
    """After Ctrl-C."""
    if cancels:
        client.call("POST", f"/api/v1/tasks/{made}/cancel")
        task_follow.say(f"task {made} is cancelled")
    else:
        task_follow.say(
            f"the task goes on: swarmnode task logs -f {made}, or swarmnode task cancel {made}"
        )


@dataclass(slots=True)
class Watcher:
    """Says beside the task's own output where it stands, while it has not ended."""

    machines: Machines
    waits: str = ""

    def tell(self, detail: Document) -> None:
        """On a terminal every change; elsewhere only why it has to wait, for a script's log."""
        if detail["state"] in task_follow.ENDS:
            return
        waits = detail["why"] if detail["state"] in ("submitted", "auctioned", "lost") else ""
        if waits and waits != self.waits:
            task_follow.say(f"  waiting: {printable(waits)} (Ctrl-C leaves it waiting)")
        elif sys.stderr.isatty() and not waits:
            where = f" on {self.machines.label(detail['provider'])}" if detail["provider"] else ""
            task_follow.say(f"  {detail['state']}{where}")
        self.waits = waits


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
            _print_rounds(client, explanation["rounds"])
        else:
            emit(explanation, fmt)


def _show_dry_run(client: Client, explanation: Document, fmt: str) -> int:
    if fmt == "table":
        _print_rounds(client, explanation["rounds"])
    else:
        emit(explanation, fmt)
    bids = [bid for auction in explanation["rounds"] for bid in auction["bids"]]
    return exits.OK if any(bid["won"] for bid in bids) else exits.TEMPORARY


def _print_rounds(client: Client, rounds: list[Document]) -> None:
    machines = Machines.seen_by(client)
    for auction in rounds:
        title = f"auction {auction['number']}" if auction["number"] else "dry run"
        click.echo(f"\n{title}: {printable(auction['outcome'])}")
        cells = [_bid_cells(bid, machines) for bid in auction["bids"]]
        if cells:
            click.echo(table(cells, ("machine", "bid", "score", "parts", "why")))
        for left_out in auction["unfit"]:
            name = printable(machines.label(left_out["peer"]))
            click.echo(f"not asked: {name}: {printable(left_out['reason'])}")


def _bid_cells(bid: Document, machines: Machines) -> list[str]:
    parts = " ".join(f"{key}={value}" for key, value in bid["parts"].items())
    why = "won" if bid["won"] else bid["reason"]
    name = printable(machines.label(bid["peer"]))
    score = str(bid["score"] or "-")
    return [name, bid["kind"], score, printable(parts) or "-", printable(why) or "-"]


for command in (ls, wait, cancel, retry, rm, get):
    task.add_command(command)
