"""How an attempt ended, by how its process did and what it left."""

from msgspec.structs import replace

from swarmnode.executor.port import JobExit, Limit
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.run.outputs import Collected
from swarmnode.tasks.records import BESIDES, FAULT, FAULT_WORDS, JobRecord, Outcome, Usage


def outcome_of(
    record: JobRecord, ended: JobExit, stop_reason: str, log_bytes: tuple[int, ...]
) -> Outcome:
    """How an attempt ended whose process has ended; outputs are still to be added."""
    usage = Usage(int(ended.wall_s * 1000), int(ended.cpu_s * 1000), ended.memory_peak_bytes)
    missing = tuple(limit.value for limit in Limit if limit not in ended.enforced)
    status, reason, detail = _how(record, ended, stop_reason)
    return Outcome(status, ended.code, reason, detail, (), usage, missing, log_bytes)


def _how(record: JobRecord, ended: JobExit, stop_reason: str) -> tuple[str, str, str]:
    """Status, reason and words."""
    if stop_reason:
        return "stopped", stop_reason, "stopped by its provider"
    if ended.reason == "lease":
        return "stopped", "lease", "nobody renewed its lease"
    if ended.reason == FAULT:
        return "stopped", FAULT, FAULT_WORDS
    if ended.reason in ("lost", "killed"):
        return "stopped", ended.reason, "its machine went down or ended it"
    if is_success(ended):
        return "done", "exit", ""
    return "failed", ended.reason, _words(record, ended)


def with_outputs(outcome: Outcome, collected: Collected) -> Outcome:
    """What is there is kept however the job ended; what is missing fails a success only."""
    is_done, note = outcome.status == "done", collected.note
    lacking = _joined(collected.missing if is_done else "", collected.fault)
    if is_done and lacking:
        outcome, note = replace(outcome, status="failed", reason="outputs"), ""
    detail = _joined(outcome.detail, lacking, note)
    return replace(outcome, outputs=collected.files, detail=detail)


def _joined(*words: str) -> str:
    return BESIDES.join(filter(None, words))[:REASON_CHARS_MAX]


def is_success(ended: JobExit) -> bool:
    """Whether the command ended as it should."""
    return ended.reason == "exit" and ended.code == 0


def _words(record: JobRecord, ended: JobExit) -> str:
    shape = record.spec.shape
    words = {
        "oom": f"it needed more than its {shape.memory_bytes // 1024**2} MiB of memory",
        "disk": f"it wrote more than its {shape.disk_bytes // 1024**2} MiB of disk",
        "log": "it wrote more to stdout or stderr than a machine keeps (256 MiB); not its disk",
        "files": "it made more files, or nested them deeper, than a machine looks at; not its disk",
        "wall": f"it ran longer than its timeout of {record.spec.timeout_ms / 1000:g} s",
        "signal": f"it was ended by signal {ended.code - 128}",
    }
    return words.get(ended.reason, f"exit code {ended.code}")
