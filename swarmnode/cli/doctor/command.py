"""`doctor`: everything that can be wrong with a machine, each with its fix."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from swarmnode.cli import exits
from swarmnode.cli.doctor import machine as checks_machine
from swarmnode.cli.doctor import state as checks_state
from swarmnode.cli.doctor import surroundings as checks
from swarmnode.cli.output import emit_rows, output_option, paint, reporting
from swarmnode.errors import ConfigError
from swarmnode.home.config import Config
from swarmnode.home.config_load import load
from swarmnode.home.folders import Home, locate

_COLOURS: Final = {checks.OK: "green", checks.WARN: "yellow", checks.FAIL: "red"}


@click.command()
@click.pass_context
@output_option
def doctor(ctx: click.Context, fmt: str) -> None:
    """Check whether this machine can run a node, and say how to mend what cannot.

    Ends with 0 unless something fails (then 6).
    """
    with reporting():
        home = locate(os.environ)
    results = examine(home)
    if fmt == "table":
        for result in results:
            click.echo(f"{paint(f'{result.status:<4}', _COLOURS[result.status])}  {_line(result)}")
    else:
        emit_rows([dataclasses.asdict(result) for result in results], fmt, ())
    if any(result.status == checks.FAIL for result in results):
        ctx.exit(exits.DEGRADED)


def examine(home: Home) -> list[checks.Check]:
    """Every check, in the order in which one would mend them."""
    config_check, config = _configuration(home)
    now_ms = time.time_ns() // 1_000_000
    examinations: tuple[Callable[[], checks.Check], ...] = (
        checks.versions,
        checks.imports,
        lambda: checks.clock(now_ms),
        checks.descriptors,
        lambda: checks.disk(home, config),
        lambda: checks_state.file_system(home),
        lambda: checks.identity(home, now_ms),
        lambda: checks_state.copies(home),
        lambda: checks_state.recovery(home, config),
        lambda: checks.ports(home, config),
        lambda: checks_state.peers(home),
        checks_machine.gpu,
        lambda: checks_machine.sandbox(needed=config.compute.enabled),
        lambda: checks_machine.paths(is_container=config.compute.sandbox == "container"),
        lambda: checks_machine.control_groups(is_container=config.compute.sandbox == "container"),
        checks_machine.work_disks,
        lambda: checks_machine.task_network(sandbox=config.compute.sandbox),
        lambda: checks_machine.disk_io(config.compute.io_mb_per_s, _tasks_of(home, config)),
        checks_machine.datasets,
        lambda: checks_machine.images(_tasks_of(home, config), sandbox=config.compute.sandbox),
    )
    return [config_check, *(examination() for examination in examinations)]


def _tasks_of(home: Home, config: Config) -> Path:
    return Path(config.compute.tasks_folder) if config.compute.tasks_folder else home.tasks


def _configuration(home: Home) -> tuple[checks.Check, Config]:
    try:
        config = load(home.config_file, os.environ)
    except ConfigError as exc:
        return checks.Check("config", checks.FAIL, str(exc), _correction(exc)), Config()
    where = str(home.config_file) if home.config_file.exists() else "all defaults"
    return checks.Check("config", checks.OK, where), config


def _correction(fault: ConfigError) -> str:
    """What to do about a configuration that is wrong, where it is."""
    places = ["correct the file"] if fault.is_file else []
    places += [f"correct or unset {variable}" for variable in fault.variables]
    return f"{'; '.join(places)} (swarmnode config show says what is known)"


def _line(result: checks.Check) -> str:
    line = f"{result.check:<9} {result.detail}"
    return line if not result.fix else f"{line}\n      {'':<9} fix: {result.fix}"
