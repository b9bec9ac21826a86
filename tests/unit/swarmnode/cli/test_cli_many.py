"""Several tasks in one command, and what a task left, as a folder."""

import errno
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio

from storage.manifests.capability import text_of_cap
from swarmnode.cli.main import run
from swarmnode.cli.task import get as task_get
from swarmnode.cli.task import many
from swarmnode.market.buyer.own_machines.hand_over import RemovedElsewhere
from swarmnode.market.explain import TaskView
from swarmnode.tasks.checkpoint import CheckpointRecord, OlderStep, StoredFile
from swarmnode.tasks.choices import JobSignal
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.holes import SparseFile
from tests.api_lab import ServedNode
from tests.fake_market import BOB, FakeMarket

T1, T2 = TaskId("t1"), TaskId("t2")


def submit(*names: str) -> None:
    for name in names:
        assert run(["task", "submit", "--detach", "--name", name, "--", "x"]) == 0


def finish(node: ServedNode, task: TaskId, code: int = 0) -> None:
    def act(market: FakeMarket) -> None:
        market.buyer.start(task)
        state = TaskState.FAILED if code else TaskState.DONE
        market.buyer.finish(task, Outcome("failed" if code else "done", code, "exit"), state)

    node.do(act)


def rows(arguments: list[str], capfd: pytest.CaptureFixture[str], code: int = 0) -> list[object]:
    capfd.readouterr()
    assert run([*arguments, "-o", "json"]) == code
    found: list[object] = json.loads(capfd.readouterr().out)["items"]
    return found


def test_ls_says_when_how_long_and_where_and_shows_what_was_asked_for(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("sweep-1", "sweep-2", "other")
    finish(node, T1)

    def names(*arguments: str) -> list[object]:
        found = rows(["task", "ls", *arguments], capfd)
        return [row["name"] for row in found if isinstance(row, dict)]

    assert names() == ["sweep-1", "sweep-2", "other"]
    assert names("--name", "SWEEP") == ["sweep-1", "sweep-2"]
    assert names("--state", "done", "--state", "failed") == ["sweep-1"]
    assert names("--limit", "1") == ["other"]
    assert names("--since", "1h") == []
    assert names("--on", "ada") == ["sweep-1"]
    assert run(["task", "ls", "--since", "soon"]) == 2
    capfd.readouterr()
    assert run(["task", "ls", "--limit", "2"]) == 0
    said = capfd.readouterr()
    assert "SUBMITTED" in said.out
    assert "TOOK" in said.out
    assert "1970-01-01 00:00:01" in said.out
    assert "1 older ones are not shown: --limit 0 shows all" in said.err
    assert run(["task", "ls", "--limit", "0"]) == 0
    assert "0.8s" in capfd.readouterr().out


def test_wait_for_several_ends_with_the_first_bad_code_and_names_the_unknown(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("a", "b", "c")
    finish(node, T1)
    finish(node, T2, 7)
    assert len(rows(["task", "wait", "a", "b"], capfd, 7)) == 2
    assert run(["task", "wait", "a"]) == 0
    assert run(["task", "wait", "a", "c", "--timeout", "0.1"]) == 75
    capfd.readouterr()
    assert run(["task", "wait", "nope", "a", "b"]) == 5
    said = capfd.readouterr()
    assert "nope: no task 'nope'" in said.err
    assert "failed" in said.out


def test_a_signal_goes_to_all_that_run_and_to_no_other(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    assert tuple(JobSignal) == many.SIGNALS
    submit("a", "b", "c")
    finish(node, T2)
    capfd.readouterr()
    assert run(["task", "signal", "a", "b", "c", "-s", "usr1"]) == 75
    said = capfd.readouterr()
    assert "b: the task does not run: t2 has ended" in said.err
    given = node.node.market.buyer.signals
    assert given == [(T1, JobSignal.USR1), (TaskId("t3"), JobSignal.USR1)]
    assert run(["task", "signal", "a", "-s", "KILL"]) == 2


def test_cancel_goes_through_all_and_says_which_could_not_be(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("a", "b")
    capfd.readouterr()
    assert run(["task", "cancel", "a", "nope", "b"]) == 5
    assert "nope: " in capfd.readouterr().err
    assert all(view.has_ended for view in node.node.market.buyer.views.values())


def test_retry_submits_ended_tasks_again_and_rm_forgets_them(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("a", "b")
    finish(node, T1, 3)
    again = {"task": "t3", "of": "t1", "guardians": [BOB], "note": ""}
    assert rows(["task", "retry", "a"], capfd) == [again]
    market = node.node.market
    assert market.buyer.views[TaskId("t3")].record.spec == market.buyer.views[T1].record.spec
    capfd.readouterr()
    assert run(["task", "rm", "t1", "b"]) == 75
    assert "b: the task has not ended: t2 is submitted: wait for it, or cancel it first" in (
        capfd.readouterr().err
    )
    assert list(market.buyer.views) == ["t2", "t3"]


# -- what a task left


def stored(node: ServedNode, name: str, data: bytes, *, tree: bool = False) -> StoredFile:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    async def put() -> StoredFile:
        receipt = await node.node.objects.put(pieces(), name=name)
        return StoredFile(name, receipt.size, text_of_cap(receipt.cap), tree)

    return trio.from_thread.run(put, trio_token=node.token)


def tree_of(**files: bytes) -> bytes:
    entries = [
        TreeEntry(name.encode(), EntryKind.FILE, 0o755, len(data)) for name, data in files.items()
    ]
    return write_index((TreeEntry(b"", EntryKind.FOLDER, 0o755), *entries)) + b"".join(
        files.values()
    )


def leaves(node: ServedNode, state: TaskState, outputs: tuple[StoredFile, ...]) -> None:
    """Ends like this, with two steps of progress."""
    one = stored(node, ".", tree_of(one=b"1"), tree=True)
    two = stored(node, ".", tree_of(two=b"2"), tree=True)
    kept = CheckpointRecord(2, (two,), 5, (OlderStep(1, one, beside=True),))

    def act(market: FakeMarket) -> None:
        market.buyer.start(T1)
        market.buyer.prints(T1, "out")
        market.buyer.prints(T1, "oh", "stderr")
        if state in (TaskState.FAILED, TaskState.CANCELLED):
            market.buyer.finish(T1, Outcome("failed", 1, "exit", outputs=outputs), state)
        record = msgspec.structs.replace(market.buyer.views[T1].record, checkpoint=kept)
        market.buyer.views[T1] = TaskView(record)

    node.do(act)


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED, TaskState.RUNNING])
def test_get_brings_outputs_checkpoints_and_logs_whatever_became_of_the_task(
    node: ServedNode, tmp_path: Path, state: TaskState, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("digits")
    folder = stored(node, r"results/\xff", tree_of(a=b"A"), tree=True)
    leaves(node, state, (stored(node, "dir/model.pt", b"model"), folder))
    capfd.readouterr()
    assert run(["task", "get", "digits", "-o", "json"]) == 0
    said = capfd.readouterr()
    assert json.loads(said.out)["folder"] == "digits"
    place = tmp_path / "digits"
    assert (place / "logs/stdout").read_text() == "out"
    assert (place / "logs/stderr").read_text() == "oh"
    assert (place / "checkpoints/one").read_bytes() == b"1"
    assert (place / "checkpoints/two").read_bytes() == b"2"
    if state is TaskState.RUNNING:
        assert "is running: this is what there is until now" in said.err
    else:
        assert (place / "outputs/dir/model.pt").read_bytes() == b"model"
        program = Path(str(place / "outputs/results") + "/\udcff/a")
        assert program.stat().st_mode & 0o777 == 0o755
    assert run(["task", "get", "digits"]) == 2
    assert "digits exists" in capfd.readouterr().err
    assert run(["task", "get", "digits", "logs only", "--only", "logs"]) == 0
    assert [path.name for path in (tmp_path / "logs only").iterdir()] == ["logs"]


def test_get_of_a_running_task_asks_its_provider_for_what_there_is(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["task", "submit", "--detach", "--out", "*", "--", "x"]) == 0
    leaves(node, TaskState.RUNNING, ())
    node.node.market.buyer.running_files = (stored(node, "log.txt", b"so far"),)
    capfd.readouterr()
    assert run(["task", "get", "t1", "here", "--only", "outputs"]) == 6
    assert "outputs: one changed while it was read" in capfd.readouterr().err
    assert (tmp_path / "here/outputs/log.txt").read_bytes() == b"so far"


def test_get_into_a_full_disk_is_one_line_with_the_name_that_was_given(
    node: ServedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    submit("digits")
    folder = stored(node, "tree", tree_of(a=b"A"), tree=True)
    leaves(node, TaskState.FAILED, (folder, stored(node, "model", b"x")))
    monkeypatch.setattr(SparseFile, "write", full)
    monkeypatch.setattr(task_get, "write_all", full)
    capfd.readouterr()
    assert run(["task", "get", "t1", "here"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: cannot write here: No space left on device: free some space")
    assert list(tmp_path.glob("*here*")) == []


def test_get_names_what_is_gone_and_brings_the_rest(
    node: ServedNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("digits")
    gone, kept = stored(node, "gone", b"x"), stored(node, "kept", b"y")
    hostile = stored(node, "tree", b"swarm tree 1\nnonsense" * 20, tree=True)
    up = msgspec.structs.replace(kept, name="../../up")
    leaves(node, TaskState.FAILED, (gone, hostile, up, kept))
    assert run(["obj", "rm", gone.cap]) == 0
    capfd.readouterr()
    assert run(["task", "get", "t1", "here"]) == 5
    said = capfd.readouterr().err
    assert "outputs/gone: no such object" in said
    assert not (tmp_path / "here/outputs/gone").exists()
    assert "the head of the tree is too long" in said
    assert "'../../up' is not a name inside the folder" in said
    assert (tmp_path / "here/outputs/kept").read_bytes() == b"y"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_show_says_until_when_progress_is_kept_and_of_a_task_that_is_done_nothing_is(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("digits")
    leaves(node, TaskState.FAILED, ())
    capfd.readouterr()
    assert run(["task", "show", "digits"]) == 0
    assert "checkpoints freed  1970-01-08 00:00:02 UTC" in capfd.readouterr().out
    done = msgspec.structs.replace(node.node.market.buyer.views[T1].record, state=TaskState.DONE)
    node.node.market.buyer.views[T1] = TaskView(done)
    assert run(["task", "get", "digits", "here"]) == 0
    assert not Path("here/checkpoints").exists()


def test_rm_frees_what_the_task_left(node: ServedNode, capfd: pytest.CaptureFixture[str]) -> None:
    submit("digits")
    leaves(node, TaskState.FAILED, (stored(node, "model", b"x"),))
    assert rows(["task", "rm", "digits"], capfd) == [{"task": "t1", "objects": 3}]
    assert not node.node.objects.entries()


def test_a_task_of_another_machine_is_cancelled_by_its_id_by_its_owner_or_the_lab(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    task = TaskId("a234567a234567aa")
    record = TaskRecord(
        task, TaskSpec(("sleep", "9")), 1000, state=TaskState.RUNNING, submitter=BOB
    )
    for words in (["--as-lab", "--reason", "by mistake"], [], []):
        node.node.market.own_machines.elsewhere.others.setdefault(task, TaskView(record))
        assert run(["task", "cancel", *words, task]) == 0
        assert "cancelled" in capfd.readouterr().out
    assert node.node.cancelled_as_lab == [(task, "by mistake")]
    assert run(["task", "cancel", "--as-lab", "train"]) == 2
    assert "its whole id" in capfd.readouterr().err
    assert run(["task", "cancel", "--reason", "by mistake", task]) == 2
    assert run(["task", "cancel", "b234567a234567aa"]) == 5


def test_a_task_that_went_on_at_another_machine_goes_by_its_name_and_is_removed_there(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    task = TaskId("a234567a234567aa")
    spec = TaskSpec(("sleep", "9"), name="long")
    record = TaskRecord(task, spec, 1000, state=TaskState.DONE, submitter=BOB, ended_ms=2000)
    node.do(lambda market: market.own_machines.elsewhere.others.update({task: TaskView(record)}))
    assert run(["task", "show", "long"]) == 0
    assert "kept at" in capfd.readouterr().out
    assert run(["task", "logs", "long", "--stream", "stderr"]) == 0
    assert capfd.readouterr().out == f"stderr of {task}"
    assert run(["task", "wait", "long"]) == 0
    assert run(["task", "rm", "long"]) == 75
    assert "which did not remove it: remove it there" in capfd.readouterr().err
    node.do(lambda market: market.own_machines.elsewhere.others.update({task: TaskView(record)}))
    node.node.market.own_machines.hand_over.removed = RemovedElsewhere((BOB,), ())
    assert run(["task", "rm", "long"]) == 0
    assert task in capfd.readouterr().out
    assert run(["task", "rm", "long"]) == 5
    assert "no task 'long': see swarmnode task ls" in capfd.readouterr().err


def test_rm_says_where_a_task_is_on_the_list_still(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    submit("one")
    finish(node, T1)
    node.node.market.own_machines.hand_over.removed = RemovedElsewhere((), (BOB,))
    capfd.readouterr()
    assert run(["task", "rm", "one"]) == 0
    said = capfd.readouterr().err
    assert said == f"t1: it is on the list of {BOB} still: remove it there, too\n"
