"""The flags of `task submit`; sizes, cores and durations are checked by the node, all at once."""

from enum import StrEnum
from pathlib import Path
from typing import Final

import click

from swarmnode.cli.output import CommandT
from swarmnode.tasks.choices import NET_WORDS, Limit, PriorityClass, Repeatability


def _words(kind: type[StrEnum]) -> list[str]:
    return [member.value for member in kind]


_OPTIONS: Final = (
    click.option("--name", help="A name for people."),
    click.option("--cpu", metavar="CORES", help="Cores, such as 2, 0.5 or 500m  [default: 1]."),
    click.option("--mem", metavar="SIZE", help="Memory, such as 2G  [default: 512M]."),
    click.option("--disk", metavar="SIZE", help="Room in its work folder  [default: 1G]."),
    click.option("--gpu", type=click.IntRange(0), metavar="N", help="GPUs, all on one machine."),
    click.option("--vram", metavar="SIZE", help="Memory of each GPU."),
    click.option("--gpu-model", metavar="TEXT", help="Part of the GPU model's name."),
    click.option(
        "--env",
        metavar="NAME|FILE",
        help="An environment that machines advertise; run: also a file of the project, an image "
        "(archive, layout or docker://HOST/NAME:TAG), a conda environment, or none.",
    ),
    click.option("--net", metavar="WHAT[,WHAT...]", help=f"What it may talk to: {NET_WORDS}."),
    click.option(
        "--set", "variables", multiple=True, metavar="NAME=VALUE", help="Environment variable."
    ),
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="NAME[=VARIABLE|=/run/secrets/FILE]",
        help="A secret of yours (secret set), as a variable and as /run/secrets/NAME.",
    ),
    click.option(
        "--secret-to",
        "secret_to",
        multiple=True,
        metavar="LAB|any",
        help="Machines of this lab may be given them, too.",
    ),
    click.option(
        "--in", "inputs", multiple=True, metavar="NAME=FILE|CAP", help="A file in its work folder."
    ),
    click.option(
        "--data", "datasets", multiple=True, metavar="WHAT=PATH", help="Read-only, as it arrives."
    ),
    click.option("--keep-inputs", is_flag=True, help="What --in stores stays after the task."),
    click.option(
        "--out", "outputs", multiple=True, metavar="GLOB", help="Files it leaves become objects."
    ),
    click.option("--changes", is_flag=True, help="All it adds or changes becomes one object more."),
    click.option("--priority", type=click.IntRange(0, 9), help="In its class; lower is sooner."),
    click.option(
        "--class", "priority_class", type=click.Choice(_words(PriorityClass)), help="Whose work."
    ),
    click.option("--timeout", metavar="TIME", help="Longest run, such as 90s, 2h  [default: 30d]."),
    click.option("--deadline", metavar="TIME", help="From now; give up after it."),
    click.option("--retries", type=click.IntRange(0), help="When the command itself fails."),
    click.option(
        "--effects", type=click.Choice(_words(Repeatability)), help="once: never run it twice."
    ),
    click.option(
        "--enforce",
        multiple=True,
        type=click.Choice(_words(Limit)),
        help="Only where this is enforced.",
    ),
    click.option("--checkpoint", metavar="FOLDER", help="Watched; what is in it moves along."),
    click.option("--checkpoint-every", metavar="TIME", help="Shortest time between two."),
    click.option("--checkpoint-keep", type=click.IntRange(2), help="Newest ones kept."),
    click.option(
        "--spec",
        "spec_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A .toml or .json file; flags win over it.",
    ),
    click.option(
        "--detach", is_flag=True, help="Print the task's id and return, once others keep it."
    ),
    click.option("--dry-run", is_flag=True, help="Only hold the auction: who would run it?"),
    click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the task, too."),
)


def submit_options(command: CommandT) -> CommandT:
    """Give a command all of them, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
