"""`swarm run -- COMMAND` from a project's folder, through a real node, as a person has it."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalNode
from tests.integration.swarm_lab import swarm_of

WHERE = "python src/where.py"
TRAIN = """\
import os, sys
print(os.path.exists("train.py"), sys.argv[1:], flush=True)
os.makedirs("results", exist_ok=True)
open("results/model.txt", "w").write(sys.argv[1])
open("results/log.txt", "w").write("lines")
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as swarm:
        yield swarm.nodes[0]


def run(node: LocalNode, cwd: Path, *words: str, code: int = 0, given: str = "") -> tuple[str, str]:
    """What it prints, with that piped in: stdout and stderr; it must end with the code."""
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "swarmnode.cli.main", "run", *words]
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        input=given,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "train.py").write_text(TRAIN)
    (folder / "requirements.txt").write_text("")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "big").write_text("x")
    return folder


def test_a_program_runs_where_it_stands_and_its_results_come_to_their_place(
    node: LocalNode, project: Path
) -> None:
    out, said = run(node, project, "--out", "results", "--", "python3", "src/train.py", "one", "0")
    assert out == "False ['one', '0']\n"
    assert "sending 2 files of" in said
    assert "left out: .venv" in said
    assert (project / "results/model.txt").read_text() == "one"


def test_in_a_folder_of_the_project_it_begins_there_and_its_code_is_ours(
    node: LocalNode, project: Path
) -> None:
    here = project / "src"
    words = ("--out", "results", "--", "python3", "train.py", "two", "3")
    assert run(node, here, *words, code=3)[0] == "True ['two', '3']\n"
    assert (project / "src/results/model.txt").read_text() == "two"


def test_what_it_made_has_the_rights_that_a_run_here_would_leave(
    node: LocalNode, project: Path
) -> None:
    run(node, project, "--out", "results", "--", "python3", "src/train.py", "one", "0")
    os.umask(ours := os.umask(0))
    assert (project / "results").stat().st_mode & 0o777 == 0o755 & ~ours
    assert (project / "results/model.txt").stat().st_mode & 0o777 == 0o644 & ~ours


def test_a_file_of_ours_that_changed_stays_and_the_result_lies_beside_it(
    node: LocalNode, project: Path
) -> None:
    train = ("--out", "results", "--", "python3", "src/train.py")
    run(node, project, *train, "one", "0")
    _, said = run(node, project, *train, "two", "0")
    assert (project / "results/model.txt").read_text() == "two", "what it brought itself gives way"
    assert "stays" not in said
    (project / "results/model.txt").write_text("mine")
    (project / ".swarmignore").write_text("results/\n")
    _, said = run(node, project, *train, "three", "0")
    assert (project / "results/model.txt").read_text() == "mine"
    (beside,) = (project / "results").glob("model.txt.*")
    assert beside.read_text() == "three"
    assert f"results/{beside.name}: what you have in its place is yours, and stays" in said
    assert not list((project / ".swarm").glob("*.part*"))
    (project / ".swarmignore").unlink()
    out, said = run(node, project, "--", "ls", "results")
    assert beside.name in said.split("left out:")[1], "a copy of before is no part of the project"
    assert beside.name not in out
    beside.write_text("taken up by hand")
    assert beside.name in run(node, project, "--", "ls", "results")[0]
    (project / "README").write_text("mine")
    _, said = run(node, project, "--out", "one", "--", "sh", "-c", "echo 1 > one")
    assert "1 file of its results is here" in said


def test_where_nothing_is_asked_for_what_it_made_is_told_and_can_be_had(
    node: LocalNode, project: Path, tmp_path: Path
) -> None:
    script = "sleep 0.1; mkdir -p new/empty; echo 1 > new/a; echo '#' >> src/train.py"
    _, said = run(node, project, "--", "sh", "-c", script)
    (line,) = [line for line in said.splitlines() if line.startswith("it made or changed")]
    size = len(TRAIN) + len("#\n1\n")
    assert line.startswith(f"it made or changed new/a, src/train.py, {size} B; ")
    assert (project / "src/train.py").read_text() == TRAIN, "nothing comes unasked"
    task = line.split("task get ")[1].split()[0]
    env = {**os.environ, "SWARM_API": str(node.client.socket_path)}
    command = [sys.executable, "-m", "swarmnode.cli.main", "task", "get", task, str(tmp_path / "g")]
    subprocess.run(command, env=env, check=True, capture_output=True)
    got = tmp_path / "g" / "outputs"
    assert (got / "src/train.py").read_text() == TRAIN + "#\n"
    assert (got / "new/empty").is_dir()
    assert not (got / "requirements.txt").exists()
    assert "it made" not in run(node, project, "--", "true")[1]


def test_a_link_out_of_its_folder_costs_that_link_and_nothing_else(
    node: LocalNode, project: Path
) -> None:
    script = "mkdir -p out ck; echo b >ck/best; echo m >out/metrics; ln -s ../ck/best out/best"
    _, said = run(node, project, "--out", "out", "--", "sh", "-c", script, code=1)
    assert "'out/best' is a link that leads out of the folder, to '../ck/best'" in said
    assert [name.name for name in (project / "out").iterdir()] == ["metrics"]
    assert (project / "out/metrics").read_text() == "m\n"


def test_what_is_piped_in_is_the_commands_input(node: LocalNode, project: Path) -> None:
    script = "import sys; print(len(sys.stdin.read()))"
    assert run(node, project, "python3", "-c", script, given="x" * 300_000)[0] == "300000\n"
    assert run(node, project / "src", "wc", "-l", given="a\nb\n")[0].split() == ["2"]
    assert run(node, project, "cat")[0] == ""
    run(node, project, "no-such-program", given="x", code=127)


def test_what_is_put_in_besides_comes_however_many_there_are(
    node: LocalNode, project: Path, tmp_path: Path
) -> None:
    given = []
    for number in range(40):
        (tmp_path / f"g{number}").write_text(str(number))
        given += ["--in", f"more/g{number}={tmp_path}/g{number}"]
    out, _ = run(node, project, *given, "--", "sh", "-c", "ls more | wc -l; ls src")
    assert out.split() == ["40", "train.py"]
    _, said = run(node, project, "--in", f".={tmp_path}", "--", "true", code=2)
    assert "the project itself is there" in said


def test_what_is_typed_in_a_folder_of_the_project_means_that_folder(
    node: LocalNode, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").write_text("data")
    script = "cat set > made; echo up > ../up.txt"
    words = ("--in", f"set={tmp_path}/set", "--out", "ma*", "--out", "../up.txt", "--")
    run(node, project / "src", *words, "sh", "-c", script)
    assert (project / "src/made").read_text() == "data"
    assert (project / "up.txt").read_text() == "up\n"
    (project / ".swarmignore").write_text("src/\n")
    _, said = run(node, project / "src", "--", "true", code=2)
    assert "src, where the command would begin, does not go along" in said


def test_a_log_in_the_folder_is_no_hindrance(node: LocalNode, project: Path) -> None:
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    line = f"{sys.executable} -m swarmnode.cli.main run -- ls"
    for into in ("> run.log 2>&1", "2>&1 | tee -a tee.log"):
        (project / "run.log").write_text("")
        (project / "tee.log").write_text("begun\n")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{line} {into}"],
            env=env, cwd=project, timeout=120, check=False, capture_output=True, text=True,
        )  # fmt: skip
        said = done.stdout + (project / "run.log").read_text()
        assert done.returncode == 0, said
        assert "changed while it was read" not in said
        if into.startswith(">"):
            assert "\nrun.log" not in said, "our own output does not go along"


def test_the_settings_of_a_project_name_its_command(node: LocalNode, project: Path) -> None:
    settings = project / "pyproject.toml"
    settings.write_text('[tool.swarm]\nrun = ["echo", "from the settings"]\n')
    assert run(node, project)[0] == "from the settings\n"
    assert run(node, project, "--", "echo", "typed")[0] == "typed\n"
    settings.write_text('[tool.swarm]\nrun = "echo"\n')
    assert "run is a list of words" in run(node, project, code=2)[1]


def test_without_a_command_beside_a_node_that_runs_one_is_asked_for(
    node: LocalNode, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(project))
    monkeypatch.setenv("SWARM_HOME", "")
    (project / "swarm").mkdir(mode=0o700)
    (project / "swarm/api.sock").symlink_to(node.client.socket_path)
    said = run(node, project, code=2)[1]
    assert "a node already runs here: give a COMMAND after --" in said


def test_a_script_that_needs_no_packages_has_an_interpreter_brought_along(
    node: LocalNode, project: Path
) -> None:
    (project / "src/where.py").write_text("import sys; print(sys.prefix)")
    for words in (("python", "src/where.py"), ("--env", "python", "--", "sh", "-c", WHERE)):
        out, said = run(node, project, *(words if "--" in words else ("--", *words)))
        assert out == "/env/venv\n"
        assert "no packages are named: CPython 3." in said
    out, said = run(node, project, "--", "/usr/bin/python3", "src/where.py")
    assert (out, "the machine's own programs" in said) == ("/usr\n", True)


@pytest.mark.parametrize(
    ("words", "code", "helps"),
    [
        (("sh", "-c", "exec python src/train.py"), 127, "python there: --env python brings one"),
        (("digits",), 1, "digits_of is not there, as no packages are named"),
        (("no-such-one",), 127, "no program no-such-one on the machine that ran it"),
        (("python3", "-m", "nosuch"), 1, "nosuch is not there, as no packages are named"),
        (("/usr/bin/python3", "-m", "nosuch"), 1, "the machine's own Python has no nosuch"),
        (
            ("python3", "-c", "import socket; socket.create_connection(('x.example', 80))"),
            1,
            "the task has no network: --net HOST",
        ),
    ],
)
def test_what_lacks_there_gets_the_line_that_helps(
    node: LocalNode, project: Path, words: tuple[str, ...], code: int, helps: str
) -> None:
    scripts = "[project]\nname = 'digits'\n[project.scripts]\ndigits = 'digits_of.cli:main'\n"
    (project / "pyproject.toml").write_text(scripts)
    assert helps in run(node, project, "--", *words, code=code)[1]


def test_a_script_of_a_project_that_nobody_would_install_gets_the_line_that_helps(
    node: LocalNode, tmp_path: Path
) -> None:
    scripts = "[project]\nname = 'digits'\n[project.scripts]\ndigits = 'digits_of.cli:main'\n"
    (tmp_path / "pyproject.toml").write_text(scripts)
    said = run(node, tmp_path, "--", "digits", code=127)[1]
    assert "nothing says how the project is installed ([build-system]" in said
    assert said.endswith("python3 -m digits_of\n")


def test_a_module_that_a_builder_wrote_and_git_ignores_is_named(
    node: LocalNode, tmp_path: Path
) -> None:
    (tmp_path / "src/pkg").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'pkg'\nversion = '1'\n")
    (tmp_path / ".gitignore").write_text("_version.py\n")
    (tmp_path / "src/pkg/__init__.py").write_text("from pkg._version import version\n")
    (tmp_path / "src/pkg/_version.py").write_text("version = '1'\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    said = run(node, tmp_path, "--", "python3", "-m", "pkg", code=1)[1]
    assert "src/pkg/_version.py does not go along: git ignores it" in said
    (tmp_path / ".swarmignore").write_text("!src/pkg/_version.py\n")
    run(node, tmp_path, "--", "python3", "-c", "import pkg")


def test_out_without_a_pattern_is_refused_before_anything_runs(
    node: LocalNode, project: Path
) -> None:
    said = run(node, project, "--out", "--", "python3", "src/train.py", "a", "0", code=2)[1]
    assert "--out needs a GLOB before --: --out GLOB -- COMMAND" in said
    assert "sending" not in said


def test_a_failed_command_does_not_hide_what_could_not_be_kept(
    node: LocalNode, project: Path
) -> None:
    told = "mkdir made && ln -s /etc/passwd made/link; exit 3"
    _, said = run(node, project, "--out", "made", "--", "sh", "-c", told, code=3)
    assert "left out: 'made/link' is a link that leads out of the folder" in said


def test_with_json_what_it_printed_is_in_the_one_document(node: LocalNode, project: Path) -> None:
    told = "echo one; echo two >&2; exit 3"
    out, said = run(node, project, "-o", "json", "--", "sh", "-c", told, "--", "x", code=3)
    document = json.loads(out)
    assert (document["stdout"], document["stderr"]) == ("one\n", "two\n")
    assert (document["exit_code"], document["left_out_bytes"]) == (3, 0)
    assert "one" not in said


def test_names_that_would_paint_the_terminal_do_not(node: LocalNode, project: Path) -> None:
    (project / "\x1b[31m.pyc").write_text("x")
    _, said = run(node, project, "--dry-run", "--", "true")
    assert "\x1b" not in said


def test_a_task_brings_nothing_into_a_repository(node: LocalNode, project: Path) -> None:
    script = "mkdir -p .git/hooks && echo bad > .git/hooks/post-commit && echo good > fine"
    _, said = run(node, project, "--out", ".", "--", "sh", "-c", script, code=6)
    assert (project / "fine").read_text() == "good\n"
    assert not (project / ".git").exists()
    assert ".git: is, or leads into, what a repository runs by itself" in said


def test_what_follows_the_command_is_the_commands(node: LocalNode, project: Path) -> None:
    script = "import sys; print(sys.argv[1:])"
    out, _ = run(node, project, "python3", "-c", script, "--out", "x", "--help")
    assert out == "['--out', 'x', '--help']\n"


def test_a_module_that_lacks_gets_the_line_that_helps(node: LocalNode, project: Path) -> None:
    _, said = run(node, project, "python3", "-c", "import no_such_thing", code=1)
    assert "no_such_thing is not there, as no packages are named: write what brings it into" in said
    (project / "src" / "mine").mkdir()
    (project / "src" / "mine" / "__init__.py").write_text("")
    _, said = run(node, project, "python3", "-c", "import mine", code=1)
    assert "mine lies in src/: --set PYTHONPATH=src" in said
    run(node, project, "--set", "PYTHONPATH=src", "python3", "-c", "import mine")


def test_a_dry_run_says_what_would_be_sent_and_where_it_would_go(
    node: LocalNode, project: Path
) -> None:
    out, said = run(node, project, "--dry-run", "--", "true")
    assert "would send 2 files" in said
    assert "left out: .venv" in said
    assert "held" in out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--gpu", "1"), "give a COMMAND after --"),
        (("--profile", "test", "--", "true"), "are options of up"),
        (("--epochs", "3"), "Options of COMMAND itself go behind --"),
        (("--", "python3", "src/trian.py"), "did you mean src/train.py?"),
        (("--", "python3", "-u", "-W", "ignore", "trian.py"), "no file trian.py in"),
        (("--", "python3", ".venv/big"), ".venv/big does not go along: git ignores it, or"),
        (("--", "src/train.py"), "src/train.py may not be run: chmod +x src/train.py"),
        (("--", "./missing.sh"), "no file ./missing.sh in"),
        (("--", "./bare.py"), "no first line such as #!/usr/bin/env python3: swarm run -- python3"),
        (("--", "./dos.sh"), "has lines that end as those of Windows do"),
        (("--", "./empty"), "no first line such as #!/usr/bin/env sh"),
    ],
)
def test_what_is_typed_wrongly_is_said_with_the_remedy(
    node: LocalNode, project: Path, words: tuple[str, ...], what: str
) -> None:
    for name, text in (("bare.py", b"print(1)\n"), ("dos.sh", b"#!/bin/sh\r\n"), ("empty", b"")):
        (project / name).write_bytes(text)
        (project / name).chmod(0o755)
    _, said = run(node, project, *words, code=2)
    assert what in said


PATIENT = """\
import signal, sys, time
print("ready", flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("saved", flush=True)
    sys.exit(5)
"""
DEAF = PATIENT.replace("try:", "signal.signal(2, signal.SIG_IGN)\nprint('deaf', flush=True)\ntry:")


def interrupted(node: LocalNode, project: Path, program: str, line: str) -> subprocess.Popen[str]:
    """A run whose program has printed the line, and has heard one Ctrl-C."""
    (project / "long.py").write_text(program)
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "swarmnode.cli.main", "run", "--", "python3", "long.py"]
    ours = subprocess.Popen(
        command,
        env=env,
        cwd=project,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert ours.stdout is not None
    assert ours.stderr is not None
    assert f"{line}\n" in iter(ours.stdout.readline, "")
    ours.send_signal(signal.SIGINT)
    assert any("was told Ctrl-C" in said for said in iter(ours.stderr.readline, ""))
    return ours


def test_the_first_ctrl_c_is_the_programs_and_its_code_is_ours(
    node: LocalNode, project: Path
) -> None:
    with interrupted(node, project, PATIENT, "ready") as ours:
        out, _ = ours.communicate(timeout=30)
    assert (out, ours.returncode) == ("saved\n", 5)


def test_a_second_ctrl_c_cancels_the_task(node: LocalNode, project: Path) -> None:
    with interrupted(node, project, DEAF, "deaf") as ours:
        began_s = time.monotonic()
        ours.send_signal(signal.SIGINT)
        _, said = ours.communicate(timeout=30)
        assert time.monotonic() - began_s < 2
    assert ours.returncode == 130
    assert "is cancelled" in said


def test_a_link_out_of_the_project_is_refused_before_anything_is_sent(
    node: LocalNode, project: Path
) -> None:
    (project / "data").symlink_to("/etc")
    _, said = run(node, project, "--", "true", code=2)
    assert "'data' is a link that leads out" in said
    assert ".swarmignore leaves it out" in said
    (project / ".swarmignore").write_text("data\n")
    run(node, project, "--", "true")


def test_the_settings_of_a_project_name_its_secrets(node: LocalNode, project: Path) -> None:
    settings = '[tool.swarm]\nsecrets = ["with-hyphen=HF_TOKEN"]\n'
    (project / "pyproject.toml").write_text(settings)
    stored = len(node.client.get("/api/v1/objects"))
    _, said = run(node, project, "--", "env", code=5)
    assert "swarmnode secret set with-hyphen" in said
    assert len(node.client.get("/api/v1/objects")) == stored, "something was stored for nothing"
    node.client.upload("/api/v1/secrets/with-hyphen", io.BytesIO(b"from-the-settings"))
    node.client.upload("/api/v1/secrets/other-one", io.BytesIO(b"from-the-flag"))
    out, _ = run(node, project, "--secret", "other-one", "--", "env")
    assert "HF_TOKEN=from-the-settings" in out
    assert "other-one=from-the-flag" in out
