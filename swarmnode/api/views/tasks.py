"""From the market's records to what the API says: plain renaming, nothing is decided here."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from storage.errors import CapabilityError
from storage.ids import Address
from storage.manifests.capability import parse_kept
from swarmnode.api.schema.tasks import (
    AttemptLine,
    BidLine,
    CheckpointLine,
    ExplanationDetail,
    OutputLine,
    RoundLine,
    TaskDetail,
    TaskEventLine,
    TaskLine,
    UnfitLine,
    UsageLine,
)
from swarmnode.estate.plan import files_until_ms
from swarmnode.market.explain import Explanation, TaskView
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import AttemptRecord, Outcome, RoundRecord, TaskRecord
from swarmnode.tasks.secrets.hidden import masked
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.spec_load import spec_as_dict

_CAP_CHARS: Final = 14
"""Of a dataset's capability that are shown: they tell which it is, and open nothing."""


def line_of(view: TaskView) -> TaskLine:
    """A task in a list."""
    record = view.record
    return TaskLine(
        task=record.task,
        name=record.spec.name,
        run=record.spec.run,
        state=record.state.value,
        phase="ended" if view.has_ended else view.phase.name.lower(),
        provider=record.provider,
        attempts=len(record.attempts),
        checkpoint_step=record.checkpoint.step if record.checkpoint else 0,
        exit_code=_exit_code(record) if view.has_ended else None,
        why=record.why,
        submitted_ms=record.submitted_ms,
        started_ms=record.attempts[-1].accepted_ms if record.attempts else 0,
        ended_ms=record.ended_ms,
    )


def _exit_code(record: TaskRecord) -> int | None:
    """Of the program itself; none when it never ran or its end was not its own."""
    outcome = record.outcome
    if outcome is None or outcome.status not in ("done", "failed") or outcome.exit_code < 0:
        return None
    return outcome.exit_code


def detail_of(view: TaskView) -> TaskDetail:
    """Everything about a task."""
    record, outcome = view.record, view.record.outcome
    line, guard = line_of(view), None if view.has_ended else view.keepers
    return TaskDetail(
        task=line.task,
        name=line.name,
        run=line.run,
        state=line.state,
        phase=line.phase,
        provider=line.provider,
        attempts=line.attempts,
        checkpoint_step=line.checkpoint_step,
        exit_code=line.exit_code,
        why=line.why,
        submitted_ms=line.submitted_ms,
        started_ms=line.started_ms,
        ended_ms=line.ended_ms,
        spec=_spec_shown(record.spec),
        fence=record.fence,
        retries_used=record.retries_used,
        rounds=record.rounds,
        history=_history(record.attempts),
        outputs=outputs_of(outcome.outputs if outcome else record.left),
        status=outcome.status if outcome else "",
        reason=outcome.reason if outcome else "",
        detail=outcome.detail if outcome else "",
        usage=_usage_line(outcome),
        not_enforced=outcome.not_enforced if outcome else (),
        note=record.note,
        checkpoints=_checkpoints(record),
        files_until_ms=files_until_ms(record),
        owner=record.submitter,
        log_at=view.log_at,
        guardians=tuple(peer for peer in guard.roster if peer != guard.submitter) if guard else (),
        acting=guard.acting if guard else "",
        is_cut_off=guard is not None and not view.may_act,
    )


def _checkpoints(record: TaskRecord) -> tuple[CheckpointLine, ...]:
    """Those that can still be had: of a task that is done none are kept."""
    kept = record.checkpoint
    if kept is None or record.state is TaskState.DONE:
        return ()
    newest = [(kept.step, file, True) for file in kept.files]
    older = [(file.step, file.file, file.beside) for file in kept.older]
    return tuple(
        CheckpointLine(step, file.name, file.size, file.cap, file.tree, beside)
        for step, file, beside in (*newest, *older)
    )


def _spec_shown(spec: TaskSpec) -> dict[str, object]:
    """As it was given, but for what looks secret."""
    shown = spec_as_dict(spec)
    if "variables" in shown:
        shown["variables"] = masked(dict(spec.variables))
    if "data" in shown:
        shown["data"] = {place: f"{cap[:_CAP_CHARS]}..." for place, cap in spec.data}
    return shown


def outputs_of(files: Sequence[StoredFile]) -> tuple[OutputLine, ...]:
    """Files and folders that a task left."""
    return tuple(OutputLine(file.name, file.size, file.cap, file.tree) for file in files)


def _history(attempts: Sequence[AttemptRecord]) -> tuple[AttemptLine, ...]:
    return tuple(
        AttemptLine(
            attempt.fence,
            attempt.provider,
            attempt.awarded_ms,
            attempt.accepted_ms,
            attempt.ended_ms,
            attempt.ended_as,
            attempt.detail,
            attempt.restored_step,
            attempt.node_died_ms,
        )
        for attempt in attempts
    )


def left_by(record: TaskRecord) -> list[Address]:
    """The objects that a task gave back or saved its progress in."""
    files = [*(record.outcome.outputs if record.outcome else ()), *record.left]
    if record.checkpoint is not None:
        files += [*record.checkpoint.files, *(older.file for older in record.checkpoint.older)]
    addresses: dict[Address, None] = {}
    for file in files:
        with suppress(CapabilityError):  # its provider made it up: nothing of ours
            addresses[parse_kept(file.cap).address] = None
    return list(addresses)


def explanation_of(explanation: Explanation) -> ExplanationDetail:
    """Every bid, score part and refusal."""
    record = explanation.view.record
    return ExplanationDetail(
        task=record.task,
        state=record.state.value,
        why=record.why,
        provider=record.provider,
        history=_history(record.attempts),
        rounds=tuple(_round(auction) for auction in explanation.rounds),
    )


def _round(auction: RoundRecord) -> RoundLine:
    return RoundLine(
        number=auction.number,
        opened_ms=auction.opened_ms,
        window_ms=auction.window_ms,
        outcome=auction.outcome,
        bids=tuple(
            BidLine(bid.peer, bid.kind, bid.eta_ms, bid.score, dict(bid.parts), bid.reason, bid.won)
            for bid in auction.bids
        ),
        unfit=tuple(UnfitLine(peer, reason) for peer, reason in auction.unfit),
    )


def event_of(change: TaskChanged) -> TaskEventLine:
    """A line of the event stream."""
    return TaskEventLine(
        change.task,
        change.at_ms,
        change.fact,
        change.state.value,
        change.provider,
        change.detail,
    )


def _usage_line(outcome: Outcome | None) -> UsageLine | None:
    if outcome is None:
        return None
    usage = outcome.usage
    return UsageLine(
        usage.wall_ms, usage.cpu_ms, usage.memory_peak_bytes, usage.down_bytes, usage.up_bytes
    )
