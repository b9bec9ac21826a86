"""The owner of a machine wants room on it for a task of their own: guests move, within seconds."""

import time

from swarmnode.demo.report import objects_in, until
from tests.integration.swarm_lab import log, people_of, submit, view, wait

ROOM_WITHIN_S = 5.0
STUBBORN = """
trap '' TERM
mkdir -p checkpoint
i=$(ls checkpoint | sed -n 's/^step-//p' | sort -n | tail -1)
echo "{\\"first\\": ${i:-0}}"
while true; do
    i=$((i + 1))
    mkdir checkpoint/.tmp-$i && mv checkpoint/.tmp-$i checkpoint/step-$i
    rm -rf checkpoint/step-$((i - 4))
    sleep 0.2
done
"""
"""It counts, saves each number, and does not end by itself."""
WHOLE = {"cpu": 1, "mem": "64M", "disk": "64M"}


def test_a_guest_in_the_owners_way_gets_three_seconds_saves_and_goes_on_elsewhere() -> None:
    with people_of(3, COMPUTE__CPU_MILLIS="1000") as swarm:
        owner, guest, third = swarm.nodes
        third.client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
        spec = {"run": ["/bin/sh", "-c", STUBBORN], "shape": WHOLE, "avoid": [guest.peer]}
        moving = submit(guest, spec | {"checkpoint": {"dir": "checkpoint", "every_s": "300ms"}})
        until(lambda: view(guest, moving)["checkpoint_step"] > 3, within_s=30, what="progress")
        assert view(guest, moving)["provider"] == owner.peer
        third.client.call("POST", "/api/v1/node/resume")

        mine = {"run": ["/bin/true"], "shape": WHOLE, "class": "owner", "require": [owner.peer]}
        began_s = time.monotonic()
        task = submit(owner, mine)
        until(lambda: view(owner, task)["started_ms"], within_s=30, what="room", every_s=0.05)
        assert time.monotonic() - began_s <= ROOM_WITHIN_S
        assert wait(owner, task)["state"] == "done"

        until(lambda: view(guest, moving)["attempts"] == 2, within_s=30, what="it moves")
        until(lambda: len(starts(log(guest, moving))) == 2, within_s=30, what="it goes on")
        moved = view(guest, moving)
        assert moved["provider"] == third.peer
        assert moved["history"][1]["restored_step"] > 3
        assert starts(log(guest, moving))[1] == moved["history"][1]["restored_step"]
        assert "owner" in moved["history"][0]["detail"]


def starts(text: bytes) -> list[int]:
    return [line["first"] for line in objects_in(text)]


def test_class_owner_is_refused_by_every_other_machine_with_the_reason() -> None:
    with people_of(2) as swarm:
        owner, other = swarm.nodes
        spec = {"run": ["/bin/true"], "shape": WHOLE, "class": "owner"}
        found = other.client.call("POST", "/api/v1/tasks?dry_run=1", spec)
        bids = {bid["peer"]: bid for one in found["rounds"] for bid in one["bids"]}
        assert bids[other.peer]["kind"] == "held"
        assert bids[owner.peer]["kind"] == "refused"
        assert "owner" in bids[owner.peer]["reason"]
