"""How machines are connected, as `peer ls` and `status` say it."""

from typing import Any

from swarmnode.cli.machines import Machines
from swarmnode.cli.nouns.node import _peers


def row(name: str, **given: object) -> dict[str, Any]:
    return {"peer": f"id-of-{name}", "name": name, "connected": True, "relay": "", **given}


def test_each_machine_is_direct_by_a_relay_or_not_connected() -> None:
    rows = [row("rita"), row("bob", relay="id-of-rita"), row("carol", connected=False)]
    machines = Machines(rows)
    assert [machines.way(one) for one in rows] == ["direct", "relay rita", "-"]


def test_a_node_of_before_that_says_nothing_of_relays_is_taken_at_its_word() -> None:
    said = {"peer": "id", "name": "bob", "connected": True}
    assert Machines([said]).way(said) == "direct"


def test_status_says_what_is_carried_and_when_nothing_is() -> None:
    peers = {"direct": 2, "by_relay": 1, "carries": True, "circuits": 3, "carried_bytes": 2048}
    assert _peers(peers) == "2 directly, 1 by relay; carries 3 circuits for others, 2.0 KiB so far"
    nothing = {**peers, "carries": False}
    assert _peers(nothing) == "2 directly, 1 by relay; carries nothing for others"
