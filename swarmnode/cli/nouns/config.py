"""`config`: what is set, and by whom."""

import os

import click

from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.output import emit_rows, output_option, reporting
from swarmnode.home.config_load import load_all_that_is_right, shown
from swarmnode.home.folders import locate


@click.group(cls=NearestGroup)
def config() -> None:
    """Show and check the configuration."""


@config.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@click.option("--profile", default="", help="As if started with this profile.")
@output_option
def show(origin: bool, profile: str, fmt: str) -> None:
    """Print every key with its value, its default where it is set wrongly, and every fault."""
    with reporting():
        flags = {"node.profile": profile} if profile else {}
        where = locate(os.environ).config_file
        config, fault = load_all_that_is_right(where, os.environ, flags)
        columns = ("key", "value", "origin") if origin else ("key", "value")
        emit_rows(shown(config), fmt, columns)
        if fault is not None:
            raise fault
