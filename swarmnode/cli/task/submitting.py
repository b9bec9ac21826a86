"""From a specification to a task that is handed in, and to its end while somebody stays with it."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import click

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document, NodeUnreachableError
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, or_said, printable, table
from swarmnode.cli.removed import say_if_out
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task import logs as task_logs
from swarmnode.cli.task.interrupts import passed_on
from swarmnode.cli.task.leaving import told_when_ended

_NOT_KNOWN: Final = "whether the task was taken on is not known: see swarmnode task ls"
_HAS_RUN: Final = ("lost", "stopped", "failed")
"""How an attempt ends that may have printed something, where another one follows."""


class CommandBehind(click.Command):
    """Says where options of the task's own command go."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, but that -- is nobody's value."""
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            words = f"{error.message} Options of COMMAND itself go behind --."
            raise click.NoSuchOption(
                error.option_name, words, error.possibilities, error.ctx
            ) from error
        for option in (one for one in self.params if isinstance(one, click.Option)):
            given = ctx.params.get(str(option.name))
            if "--" in (given if isinstance(given, tuple) else (given,)):
                name, value = option.opts[0], option.make_metavar(ctx)
                words = f"{name} needs a {value} before --: {name} {value} -- COMMAND"
                raise click.UsageError(words, ctx)
        return rest


def post(client: Client, query: str, spec: Document) -> Document:
    """What the node answers to a task; whoever does not wait for it is told where to look."""
    try:
        with told_when_ended(lambda: _NOT_KNOWN):
            made: Document = client.call("POST", f"/api/v1/tasks{query}", spec)
    except KeyboardInterrupt:
        task_follow.say(_NOT_KNOWN)
        raise
    return made


def leave_it(client: Client, spec: Document, fmt: str) -> int:
    """Hand a task in that goes on without us: prints its id."""
    _print_made(made := post(client, "?detach=1", spec), fmt)
    if made.get("note"):
        say_if_out(client)
    return exits.OK


def _print_made(made: Document, fmt: str) -> None:
    """The id, for scripts; beside it who holds the task, where that is not as it should be."""
    with or_said(f"task {made['task']} was submitted all the same"):
        if fmt == "table":
            click.echo(made["task"])
        else:
            emit(made, fmt)
    if fmt == "table" and (note := made.get("note")):
        task_follow.say(f"{made['task']}: {note}")


@dataclass(frozen=True, slots=True)
class Stayed:
    """How it went while somebody stayed with a task."""

    code: int
    detail: Document | None = None
    """The task at its end; None when we left before."""
    last_words: bytes = b""
    """The end of its stderr, where that was copied."""


def stay_with(
    client: Client, made: str, fmt: str, cancel_on_interrupt: bool, *, is_as_local: bool = False
) -> Stayed:
    """Copy what it prints, or show that with the task at its end; until then, or until Ctrl-C.

    `is_as_local`: the first of those is its program's.
    """
    with told_when_ended(lambda: _goes_on(made)):
        return _stay(client, made, fmt, cancel_on_interrupt, is_as_local=is_as_local)


def _stay(
    client: Client, made: str, fmt: str, cancel_on_interrupt: bool, *, is_as_local: bool
) -> Stayed:
    try:
        machines = Machines.seen_by(client)
        watcher = Watcher(machines, cancels=cancel_on_interrupt)
        task_follow.say(f"task {made}")
        if not machines.has_others:
            say_if_out(client)
        held = task_logs.Whole(task_follow.STREAMS, task_logs.DOCUMENT_BYTES_MAX)
        sinks = task_logs.to_our_own() if fmt == "table" else held.sinks()
        tail = task_logs.Tail(sinks["stderr"])
        sinks["stderr"] = tail.take
        with passed_on(client, made) if is_as_local else nullcontext():
            detail = _until_its_end(client, made, watcher, sinks)
    except KeyboardInterrupt:
        _leave(client, made, cancels=cancel_on_interrupt)
        return Stayed(exits.INTERRUPTED)
    except (NodeUnreachableError, EOFError):
        task_follow.say(_how_to_return(made))
        raise
    if detail is None:
        task_logs.leave_quietly()
        task_follow.say(f"nobody reads its output; see swarmnode task show {made}")
        return Stayed(exits.READER_GONE)
    if fmt != "table":
        emit({**detail, **held.texts(), "left_out_bytes": held.left_out_bytes}, fmt)
    lacks, ending = task_logs.rest_of(client, detail), task_follow.ending_of(detail)
    for words in (lacks, ending if fmt == "table" else ""):
        if words:
            task_follow.say(words)
    return Stayed(task_follow.exit_code_of(detail), detail, tail.last)


def _until_its_end(
    client: Client, made: str, watcher: "Watcher", sinks: Mapping[str, task_logs.Sink]
) -> Document | None:
    """The task; None when nobody reads any more what it printed."""
    copier = task_logs.Copier(client, made, sinks, follow=True)
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
        task_follow.say(_goes_on(made))


def _goes_on(made: str) -> str:
    """For who leaves it."""
    return (
        f"task {made} goes on: swarmnode task logs -f {made} shows what it prints, swarmnode task "
        f"get {made} brings what it makes, swarmnode task cancel {made} ends it"
    )


def _how_to_return(made: str) -> str:
    """For who has waited for the node in vain."""
    return (
        f"task {made} goes on where it runs: once the node is back, swarmnode task logs -f {made} "
        f"shows what it prints, and swarmnode task get {made} brings what it makes"
    )


@dataclass(slots=True)
class Watcher:
    """Says beside the task's own output where it stands, while it has not ended."""

    machines: Machines
    cancels: bool
    """What Ctrl-C does while it waits."""
    waits: str = ""
    last_over: int = 0
    """The newest attempt of which it is said that it is over, by its fence."""

    def tell(self, detail: Document) -> None:
        """On a terminal every change; elsewhere, for a script's log, why it has to wait, and which
        attempts are over: what they printed is there, and the next one prints it again."""
        if detail["state"] not in task_follow.ENDS:
            self._tell_what_is_over(detail["history"])
        if detail["state"] in task_follow.ENDS or (detail["state"] == "auctioned" and self.waits):
            return  # while others are asked anew it waits for the same reason as before
        waits = detail["why"] if detail["state"] in ("submitted", "lost") else ""
        if waits and waits != self.waits:
            ends = "cancels it" if self.cancels else "leaves it waiting"
            task_follow.say(f"  waiting: {printable(waits)} (Ctrl-C {ends})")
        elif sys.stderr.isatty() and not waits:
            where = f" on {self.machines.label(detail['provider'])}" if detail["provider"] else ""
            task_follow.say(f"  {detail['state']}{where}")
        self.waits = waits

    def _tell_what_is_over(self, history: Sequence[Document]) -> None:
        for attempt in history:
            if attempt["fence"] > self.last_over and attempt["ended_as"] in _HAS_RUN:
                self.last_over = attempt["fence"]
                where = self.machines.label(attempt["provider"])
                why = f": {attempt['detail']}" if attempt["detail"] else ""
                words = f"attempt {attempt['fence']} on {where} ended as {attempt['ended_as']}{why}"
                task_follow.say(f"  {printable(words)}; the task goes on")


def show_dry_run(client: Client, spec: Document, fmt: str) -> int:
    """Hold the auction only, and show it."""
    explanation = client.call("POST", "/api/v1/tasks?dry_run=1", spec)
    if fmt == "table":
        print_rounds(client, explanation["rounds"])
    else:
        emit(explanation, fmt)
    bids = [bid for auction in explanation["rounds"] for bid in auction["bids"]]
    return exits.OK if any(bid["won"] for bid in bids) else exits.TEMPORARY


def print_rounds(client: Client, rounds: list[Document]) -> None:
    """Every auction with its bids, and who was not asked."""
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
