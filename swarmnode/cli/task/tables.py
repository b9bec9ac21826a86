"""A task as a table: what a person asks first stands first."""

import json
import time

from swarmnode.cli.client import Document
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import emit, emit_rows, stamp
from swarmnode.cli.talk import human_bytes
from swarmnode.cli.task.follow import ENDS
from swarmnode.cli.task.wrapped import typed
from swarmnode.tasks.deaths import death_words


def why_of(detail: Document) -> str:
    """Why it waits or ended as it did; empty for a plain end."""
    if detail["state"] == "done":
        return ""
    if detail["state"] == "failed":
        words = (detail["reason"] or detail["why"], detail["detail"])
        return ": ".join(dict.fromkeys(word for word in words if word))
    return str(detail["why"])


def print_task(detail: Document, machines: Machines) -> None:
    """Facts, then attempts, then outputs."""
    emit(_facts(detail, machines), "table")
    attempts = [_attempt_row(attempt, machines) for attempt in detail["history"]]
    if attempts:
        emit_rows(attempts, "table", tuple(attempts[0]))
    outputs = [{**output, "size": human_bytes(output["size"])} for output in detail["outputs"]]
    if outputs:
        emit_rows(outputs, "table", ("name", "size", "cap"))


def _attempt_row(attempt: Document, machines: Machines) -> dict[str, object]:
    return {
        "attempt": attempt["fence"],
        "machine": machines.label(attempt["provider"]),
        "awarded": stamp(attempt["awarded_ms"]),
        "ended": attempt["ended_as"],
        "from_step": attempt["restored_step"] or None,
        "detail": _detail_of(attempt),
    }


def _detail_of(attempt: Document) -> str:
    died_ms = attempt.get("node_died_ms")
    died = death_words(died_ms) if died_ms else ""
    return "; ".join(dict.fromkeys(word for word in (attempt["detail"], died) if word))


def _facts(detail: Document, machines: Machines) -> dict[str, object]:
    facts: dict[str, object] = {
        "task": detail["task"],
        "name": detail["name"],
        "command": typed(detail["run"]),
        "state": detail["state"],
        "why": why_of(detail),
        "exit_code": detail["exit_code"],
        "machine": machines.label(detail["provider"]),
    }
    if detail.get("owner"):
        facts["kept_at"] = machines.label(detail["owner"])
    if detail["state"] not in ENDS and detail["provider"]:
        facts["phase"] = detail["phase"]
    facts |= {"submitted": stamp(detail["submitted_ms"]), "ended": stamp(detail["ended_ms"])}
    facts |= {"auctions": detail["rounds"], "attempts": detail["attempts"]}
    facts |= _checkpoints(detail)
    if detail.get("note"):
        facts["note"] = detail["note"]
    if (usage := detail["usage"]) is not None and detail["attempts"]:
        facts["usage"] = (
            f"{usage['wall_ms'] / 1000:.1f} s, {usage['cpu_ms'] / 1000:.1f} s of CPU, "
            f"{human_bytes(usage['memory_peak_bytes'])} of memory"
        )
    facts |= _keepers(detail, machines)
    if detail["not_enforced"]:
        facts["not_enforced"] = detail["not_enforced"]
    asked = {key: value for key, value in detail["spec"].items() if key not in ("run", "name")}
    return facts | {"spec": json.dumps(asked) if asked else None}


def _checkpoints(detail: Document) -> dict[str, object]:
    facts: dict[str, object] = {}
    if detail["checkpoint_step"]:
        facts["checkpoint_step"] = detail["checkpoint_step"]
    if detail.get("checkpoints") and (until_ms := detail.get("files_until_ms")):
        is_past = until_ms <= time.time() * 1000
        facts["checkpoints_freed" if is_past else "checkpoints_kept_until"] = stamp(until_ms)
    return facts


def _keepers(detail: Document, machines: Machines) -> dict[str, object]:
    facts: dict[str, object] = {}
    if guardians := detail.get("guardians"):
        facts["guarded_by"] = ", ".join(machines.label(peer) for peer in guardians)
    if detail.get("is_cut_off"):
        facts["cut_off"] = (
            "too few of its guardians can be reached: they may go on with it, so it waits. "
            "If they are gone for good: task cancel, then task retry"
        )
    return facts
