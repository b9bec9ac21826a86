"""`task` as a person or a script meets it, against a node that does what the test says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from swarmnode.cli.main import run
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task.many import STATES
from swarmnode.market.explain import TaskView
from swarmnode.market.guardians.kept import Guarded
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import Outcome
from tests.api_lab import ServedNode
from tests.fake_market import ADA, FakeMarket

ROOT = Path(__file__).parents[4]
T1 = TaskId("t1")


def ends(
    node: ServedNode,
    outcome: Outcome | None = None,
    state: TaskState = TaskState.DONE,
    *,
    out: str = "",
    err: str = "",
) -> None:
    """Every task prints this and ends like this, at once."""
    market = node.node.market

    def act(task: TaskId) -> None:
        market.buyer.start(task)
        market.buyer.prints(task, out)
        market.buyer.prints(task, err, "stderr")
        market.buyer.finish(task, outcome, state)

    market.buyer.on_submit = act


def test_submit_copies_both_streams_and_ends_with_the_tasks_code(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    failed = Outcome("failed", 7, "exit")
    ends(node, failed, TaskState.FAILED, out="hello\n", err="oh dear\n")
    assert run(["task", "submit", "--", "sh", "-c", "exit 7"]) == 7
    captured = capfd.readouterr()
    assert captured.out == "hello\n"
    assert "task t1\n" in captured.err
    assert "oh dear\n" in captured.err


@pytest.mark.parametrize(
    ("outcome", "state", "code", "words"),
    [
        (Outcome("done", 0, "exit"), TaskState.DONE, 0, ""),
        (Outcome("failed", 137, "oom"), TaskState.FAILED, 137, "oom"),
        (Outcome("failed", -1, "outputs", "no file matches *.pt"), TaskState.FAILED, 1, "*.pt"),
        (Outcome("failed", 127, "exit", "exit code 127"), TaskState.FAILED, 127, ""),
        (Outcome("failed", -1, "inputs", "gone"), TaskState.FAILED, 125, "inputs: gone"),
        (Outcome("unfit", 0, "environment", "no torch"), TaskState.FAILED, 125, "no torch"),
        (Outcome("failed", -1, "deadline", "too late"), TaskState.FAILED, 75, "too late"),
        (Outcome("stopped", 143, "killed"), TaskState.CANCELLED, 130, "cancelled"),
    ],
)
def test_every_end_has_its_code_and_bad_ones_their_reason(
    node: ServedNode,
    capfd: pytest.CaptureFixture[str],
    outcome: Outcome,
    state: TaskState,
    code: int,
    words: str,
) -> None:
    ends(node, outcome, state)
    assert run(["task", "submit", "--", "x"]) == code
    captured = capfd.readouterr()
    assert captured.out == ""
    assert words in captured.err


def test_a_task_nobody_could_run_says_try_again_later(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    import msgspec

    from swarmnode.market.explain import TaskView

    market = node.node.market

    def give_up(task: TaskId) -> None:
        record = market.buyer.views[task].record
        market.buyer.views[task] = TaskView(
            msgspec.structs.replace(record, state=TaskState.FAILED, why="nobody had a GPU")
        )

    market.buyer.on_submit = give_up
    assert run(["task", "submit", "--gpu", "1", "--", "x"]) == 75
    assert "nobody had a GPU" in capfd.readouterr().err


def test_output_is_copied_while_the_task_runs(node: ServedNode, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "swarmnode.cli.main", "task", "submit", "--", "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ) as ours:
        assert ours.stdout is not None
        when_submitted(node)
        node.do(lambda market: market.buyer.prints(T1, "one\n"))
        assert ours.stdout.readline() == b"one\n"
        assert ours.poll() is None
        node.do(lambda market: market.buyer.prints(T1, "two\n"))
        assert ours.stdout.readline() == b"two\n"
        node.do(lambda market: market.buyer.finish(T1))
        assert ours.wait(20) == 0


def when_submitted(node: ServedNode) -> None:
    submitted = threading.Event()
    if node.do(lambda market: _or_when(market, submitted)):
        return
    assert submitted.wait(20)


def _or_when(market: FakeMarket, submitted: threading.Event) -> bool:
    market.buyer.on_submit = lambda _task: submitted.set()
    return bool(market.buyer.views)


@pytest.mark.parametrize("flag", [False, True], ids=["goes on", "--cancel-on-interrupt"])
def test_after_ctrl_c_the_task_goes_on_unless_asked_otherwise(node: ServedNode, flag: bool) -> None:
    options = ["--cancel-on-interrupt"] if flag else []
    command = [sys.executable, "-m", "swarmnode.cli.main", "task", "submit", *options, "--", "x"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
    ) as ours:
        assert ours.stderr is not None
        assert ours.stderr.readline() == "task t1\n"
        ours.send_signal(signal.SIGINT)
        said = ours.stderr.read()
        assert ours.wait(20) == 130
    state = node.do(lambda market: market.buyer.views[T1].state)
    assert state == (TaskState.CANCELLED if flag else TaskState.SUBMITTED)
    assert said.count("\n") == 1
    assert ("is cancelled" if flag else "swarmnode task logs -f t1") in said


def test_every_flag_reaches_the_spec_and_wins_over_the_file(
    node: ServedNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "task.toml"
    file.write_text(
        'run = ["from", "file"]\nname = "file"\nretries = 1\noutputs = ["a"]\n'
        '[shape]\nmem = "1G"\ncpu = 4\n[variables]\nA = "1"\n'
    )
    line = (
        f"task submit --detach --spec {file} --name flags --cpu 500m --gpu 2 --vram 8G "
        "--gpu-model H100 --env torch --net PyPI,a.org:22 --set B=2=3 --out *.pt --priority 1 "
        "--class critical --timeout 2h --deadline 3h --enforce memory --enforce net "
        "--checkpoint ckpt --checkpoint-every 5s --effects once"
    )
    assert run([*line.split(), "--", "train", "--epochs", "3"]) == 0
    assert capsys.readouterr().out == "t1\n"
    assert run(["task", "show", "t1", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"] == {
        "run": ["train", "--epochs", "3"],
        "name": "flags",
        "env": "torch",
        "retries": 1,
        "outputs": ["a", "*.pt"],
        "variables": {"A": "1", "B": "2=3"},
        "priority": 1,
        "class": "critical",
        "timeout": "7200000ms",
        "deadline": "10800000ms",
        "effects": "once",
        "enforce": ["memory", "net"],
        "net": ["pypi", "a.org:22"],
        "checkpoint": {"dir": "ckpt", "every_s": "5000ms", "keep": 2},
        "shape": {
            "cpu": "500m",
            "mem": 1 << 30,
            "disk": 1 << 30,
            "gpu": {"count": 2, "vram": 8 << 30, "model": "H100"},
        },
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("task submit", "COMMAND"),
        ("task submit --net http://a.org -- x", "net: 'http://a.org' is none of none, pypi"),
        ("task submit --net pypi,none -- x", "leave none out"),
        ("task submit --cpu lots -- x", "cpu: 'lots' is not a valid number of cores"),
        ("task submit --set X -- x", "NAME=VALUE"),
        ("task submit --in swarm:abc -- x", "needs a name"),
        ("task submit --in nothing.bin -- x", "No such file"),
        ("task submit --spec nothing.toml", "No such file"),
        ("task submit --prioritty 1 -- x", "'--priority'"),
        ("task submit --net pipy -- x", "did you mean pypi?"),
        ("task submit --net intranet,hf -- x", "did you mean internet?"),
        ("task submit --net localnas -- x", "localnas:443"),
        ("task submit --env torhc -- x", "did you mean torch?"),
        ("task submit --env torhc --dry-run -- x", "did you mean torch?"),
        ("task submit ls -l", "Options of COMMAND itself go behind --."),
        ("task sbmit", "did you mean 'submit'"),
        ("tsk ls", "did you mean 'task'"),
        ("task submit -o xml -- x", "json"),
    ],
)
def test_wrong_lines_are_one_clear_line_and_exit_2(
    node: ServedNode, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    assert run(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert node.do(lambda market: market.buyer.views) == {}


def test_an_environment_that_is_not_there_now_is_waited_for_by_who_detaches(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["task", "submit", "--env", "torhc", "--detach", "--", "x"]) == 0
    assert run(["task", "submit", "--env", "qiskit", "--detach", "--", "x"]) == 0
    assert len(node.do(lambda market: market.buyer.views)) == 2
    capsys.readouterr()


def test_misspelt_data_and_secrets_are_refused_with_what_was_meant(
    node: ServedNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "value").write_text("v")
    assert run(["secret", "set", "token", "--from", str(tmp_path / "value")]) == 0
    assert run(["task", "submit", "--data", "imagnet=/data", "--", "x"]) == 2
    assert "did you mean imagenet?" in capsys.readouterr().err
    assert run(["task", "submit", "--secret", "tokne", "--", "x"]) == 5
    assert "did you mean token?" in capsys.readouterr().err
    assert node.do(lambda market: market.buyer.views) == {}


def test_a_misspelt_key_of_a_file_is_named_even_without_a_command(
    node: ServedNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "task.toml").write_text('runn = ["x"]\ncpuu = 1\n')
    assert run(["task", "submit", "--spec", str(tmp_path / "task.toml")]) == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("error: the task spec is wrong: ")
    assert all(line.startswith("  ") for line in others)
    assert any("did you mean 'run'" in line for line in (first, *others))


def test_a_task_that_waits_says_why(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import msgspec

    monkeypatch.setattr(task_follow, "POLL_S", 0.05)

    from swarmnode.market.explain import TaskView

    market = node.node.market

    def wait_a_while(task: TaskId) -> None:
        record = msgspec.structs.replace(
            market.buyer.views[task].record, why="no machine has a GPU"
        )
        market.buyer.views[task] = TaskView(record)
        threading.Timer(0.3, lambda: node.do(lambda market: market.buyer.finish(T1))).start()

    market.buyer.on_submit = wait_a_while
    assert run(["task", "submit", "--", "x"]) == 0
    assert "waiting: no machine has a GPU" in capsys.readouterr().err


def test_ls_knows_every_state() -> None:
    assert set(STATES) == {state.value for state in TaskState}


def test_a_dry_run_shows_bids_and_winner_and_submits_nothing(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["task", "submit", "--dry-run", "--", "x"]) == 0
    shown = capsys.readouterr().out
    assert "ada" in shown
    assert "price=100 eta=50" in shown
    assert "won" in shown
    assert "capacity" in shown
    assert "12D3cy: no GPU" in shown
    assert node.do(lambda market: market.buyer.views) == {}


def test_ls_show_wait_cancel_and_explain_in_every_form(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["task", "submit", "--detach", "--name", "greet", "--", "echo", "hi"])
    node.do(lambda market: market.buyer.start(T1))
    for form in ("table", "json", "jsonl"):
        for words in (["ls"], ["show", "t1"], ["explain", "greet"], ["cancel", "t1"]):
            capsys.readouterr()
            assert run(["task", *words, "-o", form]) == 0
            out = capsys.readouterr().out
            if form != "table":
                assert [
                    json.loads(one) for one in ([out] if form == "json" else out.split("\n")[:-1])
                ]
            assert ADA in out or "ada" in out or words[0] == "cancel"
    assert run(["task", "wait", "t1"]) == 130
    assert run(["task", "wait", "t1", "-o", "json"]) == 130


@pytest.mark.parametrize(
    ("state", "ended_s_ago", "key"),
    [
        (TaskState.RUNNING, 0, ""),
        (TaskState.FAILED, 60, "checkpoints kept until"),
        (TaskState.CANCELLED, 6 * 86_400, "checkpoints kept until"),
        (TaskState.CANCELLED, 8 * 86_400, "checkpoints freed"),
        (TaskState.DONE, 60, ""),
    ],
)
def test_show_says_when_the_checkpoints_of_an_ended_task_are_freed(
    node: ServedNode,
    capsys: pytest.CaptureFixture[str],
    state: TaskState,
    ended_s_ago: int,
    key: str,
) -> None:
    run(["task", "submit", "--detach", "--", "x"])
    ended_ms = int((time.time() - ended_s_ago) * 1000) if ended_s_ago else 0

    def act(market: FakeMarket) -> None:
        kept = CheckpointRecord(3, (StoredFile(".", 1, "swarm:x", tree=True),), 5)
        record = market.buyer.views[T1].record
        changed = msgspec.structs.replace(record, state=state, ended_ms=ended_ms, checkpoint=kept)
        market.buyer.views[T1] = TaskView(changed)

    node.do(act)
    capsys.readouterr()
    assert run(["task", "show", "t1"]) == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("checkpoints ")
    ]
    assert [line.partition("  ")[0] for line in lines] == ([key] if key else [])
    if key:
        until = time.gmtime(ended_ms / 1000 + 7 * 86_400)
        assert time.strftime("%Y-%m-%d", until) in lines[0]


def test_detach_prints_the_id_and_says_when_nobody_else_keeps_the_task(
    node: ServedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    detach = ["task", "submit", "--detach"]
    assert run([*detach, "--", "x"]) == 0
    assert capfd.readouterr() == ("t1\n", "")
    node.node.market.guardians.guards = Guarded()
    assert run([*detach, "--", "x"]) == 0
    out, err = capfd.readouterr()
    assert out == "t2\n"
    assert "t2: kept by this machine alone" in err
    assert run([*detach, "-o", "json", "--", "x"]) == 0
    made = json.loads(capfd.readouterr().out)
    assert (made["task"], made["guardians"]) == ("t3", [])
    assert "kept by this machine alone" in made["note"]


def test_a_task_goes_by_its_name_whatever_its_length(
    node: ServedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("abcdefghijklmnop", "a name of many words, longer than an id", "twin", "twin"):
        run(["task", "submit", "--detach", "--name", name, "--", "x"])
    for number, name in enumerate(("abcdefghijklmnop", "a name of many words, longer than an id")):
        capsys.readouterr()
        assert run(["task", "show", name, "-o", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["task"] == f"t{number + 1}"
    assert run(["task", "show", "twin"]) == 5
    assert "2 tasks match 'twin': give the id of one, such as t3, t4" in capsys.readouterr().err


def test_an_unknown_task_is_exit_5(node: ServedNode, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["show"], ["logs", "-f"], ["wait"], ["cancel"], ["explain"]):
        assert run(["task", *words, "nope"]) == 5
        assert run(["task", *words, "abcdefghijklmnop"]) == 5
        assert capsys.readouterr().err.count("error: ") == 2


def test_without_a_node_it_is_one_line_and_exit_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    monkeypatch.delenv("SWARM_API", raising=False)
    assert run(["task", "ls"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "swarmnode up" in captured.err


def test_a_token_is_made_for_a_scope_and_only_its_hash_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    assert run(["api", "token", "--scope", "submit", "--name", "ci", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    text = Path(made["file"]).read_text()
    assert made["token"].startswith("swarm-submit-")
    assert made["token"] not in text
    assert text.startswith("submit ")
    assert text.endswith(" ci\n")
