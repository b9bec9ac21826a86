"""`status`, `peer`, `ping`, `node`: what the swarm looks like from here."""

import statistics

import click

from swarmnode.api.limits import API_PINGS_MAX
from swarmnode.cli import exits
from swarmnode.cli.client import Document
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, emit_rows, output_option, paint, printable, stamp
from swarmnode.cli.removed import REMOVED
from swarmnode.cli.talk import human_bytes, node, wait_option

STATE_COLOURS = {"ready": "green", "joining": "yellow", "starting": "yellow", "stopping": "red"}


@click.command()
@click.option("--check", is_flag=True, help="Exit 6 unless ready and without warnings.")
@wait_option
@output_option
def status(check: bool, wait_s: float, fmt: str) -> int:
    """Show the health of this node, then what it lends and keeps."""
    with node(wait_s) as client:
        status: Document = client.get("/api/v1/status")
    if fmt == "table":
        _print_status(status)
    else:
        emit(status, fmt)
    well = status["state"] == "ready" and not status["warnings"]
    return exits.OK if well or not check else exits.DEGRADED


def _print_status(status: Document) -> None:
    _print_health(status)
    storage, compute = status["storage"], status["compute"]
    emit(
        {
            "machine": f"{status['name']} ({status['peer']})",
            "lab": status["lab"],
            "network": f"{status['network']} ({status['join_step']})",
            "membership": _membership(status),
            "members": f"{status['members_alive']} alive, {status['members_suspect']} suspect, "
            f"{status['members_dead']} dead",
            "peers": _peers(status["peers"]) if "peers" in status else "-",
            "addresses": status["addresses"],
            "compute": _lent(compute),
            "gpus": compute["gpus"],
            "task network": _task_net(compute),
            "jobs": compute["jobs_running"],
            "storage": f"{human_bytes(storage['used_bytes'])} kept, "
            f"{human_bytes(storage['free_bytes'])} free{_lacking(storage)}",
            "uptime": f"{status['uptime_s']:.0f} s, profile {status['profile']}",
        },
        "table",
    )
    if compute["enabled"] and compute.get("net_trouble"):
        click.echo(f"no network for tasks: {compute['net_trouble']}")
    _print_limits(compute["not_enforced"])
    if trouble := compute.get("data", ("", ""))[1]:
        click.echo(f"datasets: {trouble}")
    if compute["enabled"] and (trouble := compute.get("image_trouble")):
        click.echo(f"images: {trouble}")


def _membership(status: Document) -> str:
    if not status["valid_until_ms"]:
        return ""
    goes_on = "but out of the network" if status["state"] == REMOVED else "renews itself"
    return f"until {stamp(status['valid_until_ms'])[:10]}, {goes_on}"


def _lent(compute: Document) -> str:
    if not compute["enabled"]:
        return "not lent"
    if compute["paused"]:
        return "paused by its owner (swarmnode node resume)"
    cores = f"{compute['cpu_free_millis'] / 1000:g} of {compute['cpu_millis'] / 1000:g} cores free"
    return f"{cores}, {human_bytes(compute['memory_free_bytes'])} memory free"


def _peers(peers: Document) -> str:
    """How others are connected, and what is carried for them."""
    words = f"{peers['direct']} directly, {peers['by_relay']} by relay"
    if not peers["carries"]:
        return f"{words}; carries nothing for others"
    carried = human_bytes(peers["carried_bytes"])
    circuits = "1 circuit" if peers["circuits"] == 1 else f"{peers['circuits']} circuits"
    return f"{words}; carries {circuits} for others, {carried} so far"


def _task_net(compute: Document) -> str:
    """What tasks may talk to here."""
    if compute.get("net_trouble"):
        return "none"
    ours, others = (", ".join(compute.get(key, ())) for key in ("net", "net_others"))
    return f"{ours or 'none'} for your lab, {others or 'none'} for others"


def _print_limits(not_enforced: dict[str, str]) -> None:
    limits: dict[str, list[str]] = {}
    for limit, why in sorted(not_enforced.items()):
        limits.setdefault(why, []).append(limit)
    for why, names in limits.items():
        click.echo(f"not enforced here: {', '.join(names)}: {why}")


def _print_health(status: Document) -> None:
    state = str(status["state"])
    click.echo(paint(f"{state}", STATE_COLOURS.get(state, "red")))
    for warning in status["warnings"]:
        click.echo(paint(f"  ! {printable(warning)}", "yellow"))
    for note in status.get("notes", ()):
        click.echo(f"  - {printable(note)}")
    for failure in status["join_failures"]:
        click.echo(f"    {printable(failure)}")


def _lacking(storage: Document) -> str:
    """How many objects are not as they should be."""
    kept, own = storage["kept_degraded"], storage["own_degraded"] + storage["own_unreadable"]
    lost = max(storage["kept_unreadable"], storage["own_unreadable"])
    lacking = max(kept, own)
    are = "object lacks" if lacking == 1 else "objects lack"
    words = f"; {lacking} {are} copies" if lacking else ""
    return words + (f", {lost} of them cannot be read now" if lost else "")


@click.group(cls=NearestGroup)
def peer() -> None:
    """The members of the network, as this node sees them."""


@peer.command("ls")
@wait_option
@output_option
def peer_ls(wait_s: float, fmt: str) -> None:
    """List every member with its state, round-trip time and free resources."""
    with node(wait_s) as client:
        rows = client.get("/api/v1/peers")
    if fmt == "table":
        machines = Machines([dict(row) for row in rows])
        for row in rows:
            row["name"], row["lab"] = machines.label(row["peer"]), machines.lab(row["lab"])
            row["rtt"] = "-" if row["rtt_ms"] is None else f"{row['rtt_ms']:.1f} ms"
            row["name"] += " (me)" if row["me"] else ""
            row["by"] = machines.way(row)
            free = row["cpu_free_millis"]
            row["cores_free"] = "-" if free is None else f"{free / 1000:g}"
    columns = ("name", "liveness", "lab", "site", "rtt", "by", "cores_free", "gpus", "peer")
    emit_rows(rows, fmt, columns)


@click.command()
@click.argument("peer_id")
@click.option("-c", "--count", type=click.IntRange(1, API_PINGS_MAX), default=4, show_default=True)
@output_option
def ping(peer_id: str, count: int, fmt: str) -> None:
    """Measure round trips to a member, by its peer id or name."""
    with node() as client:
        machine = Machines.seen_by(client).find(peer_id)
        pong = client.call("POST", f"/api/v1/peers/{machine['peer']}/ping?count={count}")
    times = pong["rtt_ms"]
    median = round(statistics.median(times), 3)
    emit({"peer": pong["peer"], "rtt_ms": [round(t, 3) for t in times], "median_ms": median}, fmt)


@click.group("node", cls=NearestGroup)
def node_group() -> None:
    """This machine, by its owner: take it back, lend it again."""


@node_group.command()
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0, 600),
    metavar="SECONDS",
    help="Notice the tasks get  [default: timers.pause_grace_s].",
)
@output_option
def pause(grace_s: float | None, fmt: str) -> None:
    """Take the machine back: tasks move on with their last checkpoint."""
    with node() as client:
        wanted = {} if grace_s is None else {"grace_s": grace_s}
        emit(client.call("POST", "/api/v1/node/pause", wanted), fmt)


@node_group.command()
@output_option
def resume(fmt: str) -> None:
    """Lend the machine again."""
    with node() as client:
        emit(client.call("POST", "/api/v1/node/resume", {}), fmt)
