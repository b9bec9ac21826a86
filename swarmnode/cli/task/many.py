"""`task ls | wait | cancel | retry | rm`: many tasks at once, each of which is done or named."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final
from urllib.parse import urlencode

import click

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.each import each
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, emit_rows, or_said, output_option, stamp
from swarmnode.cli.talk import Seconds, as_lab_options, as_lab_query, node, wait_option
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task.get import FILES_TIMEOUT_S
from swarmnode.cli.task.names import resolve
from swarmnode.cli.task.tables import why_of
from swarmnode.cli.task.wrapped import typed

STATES: Final = (
    *("submitted", "auctioned", "awarded", "running", "lost"),
    *task_follow.ENDS,
)
"""A test holds them equal to swarmnode.tasks.lifecycle.TaskState."""
SIGNALS: Final = ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2")
"""A test holds them equal to swarmnode.tasks.choices.JobSignal."""
SHOWN: Final = 50
"""Rows of a table that nobody limited: a screen."""
_COLUMNS: Final = (
    "task", "name", "state", "code", "submitted", "took", "attempts", "machine", "command",
)  # fmt: skip


@click.command("ls")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only tasks in this state."
)
@click.option("--name", default="", metavar="TEXT", help="Only tasks with this in their name.")
@click.option("--on", "machine", default="", metavar="MACHINE", help="Only those of this machine.")
@click.option("--since", default="", metavar="TIME", help="Submitted within, such as 2h.")
@click.option(
    "--limit", type=click.IntRange(0), default=None, metavar="N",
    help=f"Only the newest N, 0 for all  [default: {SHOWN} in a table].",
)  # fmt: skip
@wait_option
@output_option
def ls(
    states: tuple[str, ...],
    name: str,
    machine: str,
    since: str,
    limit: int | None,
    wait_s: float,
    fmt: str,
) -> None:
    """List the tasks submitted here, oldest first: when, for how long, where."""
    since_ms = _ago_ms(since) if since else 0
    as_table = fmt == "table"
    wanted = SHOWN if limit is None and as_table else limit or 0
    query = [("state", state) for state in states] + [("name", name), ("since_ms", str(since_ms))]
    with node(wait_s) as client:
        machines = Machines.seen_by(client) if as_table or machine else Machines(())
        rows = client.get(f"/api/v1/tasks?{urlencode(query, errors='surrogateescape')}")
    if machine:
        rows = _on(machine, rows, machines)
    left_out = max(0, len(rows) - wanted) if wanted else 0
    rows = rows[left_out:]
    if as_table:
        rows = [row | _cells(row, machines) for row in rows]
        if left_out:
            task_follow.say(f"{left_out} older ones are not shown: --limit 0 shows all")
    emit_rows(rows, fmt, _COLUMNS)


def _on(machine: str, rows: list[Document], machines: Machines) -> list[Document]:
    """Those of one machine, which may be no member any more. Raises CliError: nobody knows it."""
    names = {row["provider"]: machines.label(row["provider"]) for row in rows}
    found = [row for row in rows if machine in (row["provider"], names[row["provider"]])]
    if not found:
        machines.find(machine)
    return found


def _ago_ms(text: str) -> int:
    from swarmnode.tasks.sizes import parse_duration_ms

    try:
        return int(time.time() * 1000) - parse_duration_ms(text)
    except ValueError as error:
        raise exits.CliError(f"--since: {error}", exits.USAGE) from error


def _cells(row: Document, machines: Machines) -> dict[str, object]:
    return {
        "command": typed(row["run"])[:60],
        "code": row["exit_code"],
        "submitted": stamp(row["submitted_ms"]).removesuffix(" UTC"),
        "took": _took(row),
        "machine": machines.label(row["provider"]),
    }


def _took(row: Document) -> str:
    """From the start of its newest attempt to its end, or until now."""
    if not row["started_ms"]:
        return ""
    until_ms = row["ended_ms"] or int(time.time() * 1000)
    seconds = max(0, until_ms - row["started_ms"]) / 1000
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{minutes}m{seconds % 60:02.0f}s" if not hours else f"{hours}h{minutes % 60:02}m"


@click.command("wait")
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...")
@click.option(
    "--timeout", "timeout_s", type=Seconds(), metavar="SECONDS", help="Then exit with 75."
)
@output_option
def wait(task_ids: tuple[str, ...], timeout_s: float | None, fmt: str) -> int:
    """Wait until tasks have ended; the exit code is the task's, of several the first bad one."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with node() as client:

        def wait_one(text: str) -> Document:
            task = resolve(client, text)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            return task_follow.wait_for(client, task, left, lambda _detail: None)

        details, code = each(task_ids, wait_one)
    if details:
        _print_waited(details, fmt, is_alone=len(task_ids) == 1)
    elif fmt != "table":
        emit_rows(details, fmt, ())
    return code or next((bad for bad in map(_code_of, details) if bad), exits.OK)


def _print_waited(details: list[Document], fmt: str, *, is_alone: bool) -> None:
    shown = [
        {key: detail[key] for key in ("task", "name", "state", "exit_code")}
        | {"why": why_of(detail)}
        for detail in details
    ]
    if fmt != "table" and is_alone:
        emit(details[0], fmt)
    elif fmt != "table":
        emit_rows(details, fmt, ())
    elif is_alone:
        emit({key: value for key, value in shown[0].items() if key != "name"}, fmt)
    else:
        emit_rows(shown, fmt, tuple(shown[0]))


def _code_of(detail: Document) -> int:
    if detail["state"] not in task_follow.ENDS:
        return exits.TEMPORARY
    return task_follow.exit_code_of(detail)


@click.command("cancel")
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...")
@as_lab_options
@output_option
def cancel(task_ids: tuple[str, ...], as_lab: bool, reason: str, fmt: str) -> int:
    """End tasks wherever they run; harmless for those that have ended.

    A task that another machine of yours submitted, or with --as-lab anybody's of the lab, goes by
    its whole id.
    """
    columns, query = ("task", "state", "why"), as_lab_query(as_lab, reason)
    if not as_lab:
        return _post(task_ids, "cancel", fmt, columns)
    return _post_all(task_ids, lambda _client, text: f"{_of_lab(text)}/cancel{query}", fmt, columns)


def _of_lab(text: str) -> str:
    from swarmnode.tasks.ids import is_task_id

    if not is_task_id(text):
        raise exits.CliError("with --as-lab a task goes by its whole id", exits.USAGE)
    return f"/api/v1/tasks/{text}"


class SignalName(click.Choice[str]):
    """With or without SIG, as kill takes it."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click's."""
        return super().convert(value.upper().removeprefix("SIG"), param, ctx)


@click.command("signal")
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...")
@click.option(
    "--signal", "-s", "name", type=SignalName(SIGNALS, case_sensitive=False), default="INT",
    show_default=True, help="What its programs are to hear.",
)  # fmt: skip
@output_option
def signal(task_ids: tuple[str, ...], name: str, fmt: str) -> int:
    """Have the programs of tasks that run hear a signal: USR1, where one asks for that."""
    return _post(task_ids, "signal", fmt, ("task", "signal"), body={"signal": name})


@click.command("retry")
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...")
@output_option
def retry(task_ids: tuple[str, ...], fmt: str) -> int:
    """Submit ended tasks again as they were; prints the new ids."""
    return _post(task_ids, "retry", fmt, ("task", "of"), "submitted all the same")


@click.command("rm")
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...")
@output_option
def rm(task_ids: tuple[str, ...], fmt: str) -> int:
    """Forget ended tasks: their logs, outputs and checkpoints go, too.

    Also on other machines of yours that have them; one that is off keeps them on its list.
    """
    return _post(task_ids, "forget", fmt, ("task", "objects"))


def _post(
    task_ids: tuple[str, ...],
    verb: str,
    fmt: str,
    columns: tuple[str, ...],
    done: str = "",
    body: Document | None = None,
) -> int:
    def path_of(client: Client, text: str) -> str:
        return f"/api/v1/tasks/{resolve(client, text)}/{verb}"

    return _post_all(task_ids, path_of, fmt, columns, done, body)


def _answer(client: Client, path: str, body: Document | None) -> Document:
    # A retry may have to bring the inputs of another machine's task here first.
    answer: Document = client.call("POST", path, body, timeout_s=FILES_TIMEOUT_S)
    if "state" not in answer and (note := answer.get("note")):  # of a retry, or a removal
        task_follow.say(f"{answer['task']}: {note}")
    return answer


def _post_all(
    task_ids: tuple[str, ...],
    path_of: Callable[[Client, str], str],
    fmt: str,
    columns: tuple[str, ...],
    done: str = "",
    body: Document | None = None,
) -> int:
    """`done`: what is said of tasks that nobody sees here, where that is not seen anew."""
    with node() as client:
        rows, code = each(task_ids, lambda text: _answer(client, path_of(client, text), body))
    told = f"{done}: {', '.join(str(row['task']) for row in rows)}"
    with or_said(told) if done and rows else nullcontext():
        if rows or fmt != "table":
            emit_rows(rows, fmt, columns)
    return code
