"""`demo`: the nine steps on this machine."""

import click

from swarmnode.cli.output import FORMATS


@click.command()
@click.option("--nodes", type=click.IntRange(5, 16), default=7, show_default=True)
@click.option("--fast", is_flag=True, help="A smaller object and a shorter training.")
@click.option("--keep", is_flag=True, help="Leave the nodes' folders behind, and say where.")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the object's bytes.")
@click.option("-o", "--output", "fmt", type=click.Choice(FORMATS), default="table")
def demo(nodes: int, fast: bool, keep: bool, seed: int, fmt: str) -> None:
    """Nine measured steps on a swarm of real nodes on this machine.

    Everything runs on loopback in a folder of its own; nothing is left behind. Exits 0 only if
    every step passes.
    """
    from swarmnode.demo.main import run_demo

    raise SystemExit(run_demo(nodes, fast=fast, keep=keep, seed=seed, as_json=fmt != "table"))
