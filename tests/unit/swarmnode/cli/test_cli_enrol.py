"""The command line as a person or a script meets it: init, invite, join, config, doctor."""

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swarmnode.cli.main import COMMANDS, SUMMARIES, cli
from swarmnode.cli.main import run as run_line

ROOT = Path(__file__).parents[4]
NAMES = ("--name", "alpha", "--person", "ann", "--lab", "physics")


def swarmnode(
    home: Path, *arguments: str, text: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "swarmnode.cli.main", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SWARM_HOME": str(home), **environ},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["v"] == 1
    return dict(found)


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of an error that left nothing on stdout."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def alpha(tmp_path: Path) -> Path:
    home = tmp_path / "alpha"
    assert swarmnode(home, "init", "--new-network", *NAMES).returncode == 0
    return home


def test_who_joins_again_keeps_their_name_and_is_told_to_restart_a_node_that_runs(
    alpha: Path, tmp_path: Path
) -> None:
    beta = tmp_path / "beta"
    first, other = (swarmnode(alpha, "invite").stdout.strip() for _ in range(2))
    assert document(swarmnode(beta, "join", first, "--person", "Bob", "-o", "json"))["changed"]
    with socket.socket(socket.AF_UNIX) as node:
        node.bind(str(beta / "run" / "api.sock"))
        node.listen()
        again = document(swarmnode(beta, "join", other, "-o", "json"))
    assert (again["changed"], again["person"]) == (True, "Bob")
    assert "start it again" in again["next"]


def test_another_lab_for_a_machine_that_is_in_one_is_refused(alpha: Path) -> None:
    done = swarmnode(alpha, "init", "--new-network", "--lab", "other")
    assert "is in lab physics already, and nothing was changed" in complaint(done, done.returncode)
    assert done.returncode not in (0, 2)
    assert swarmnode(alpha, "init", "--new-network", "--lab", "physics").returncode == 0


def test_from_nothing_to_two_members(tmp_path: Path) -> None:
    alpha, beta = tmp_path / "alpha", tmp_path / "beta"
    first = document(swarmnode(alpha, "init", "--new-network", *NAMES, "-o", "json"))
    assert first["changed"] is True
    assert first["next"].startswith("swarmnode up")
    again = document(swarmnode(alpha, "init", "--new-network", "-o", "json"))
    assert again["changed"] is False
    assert (again["peer"], again["network"]) == (first["peer"], first["network"])

    shown = swarmnode(alpha, "invite")
    assert shown.stdout.startswith("swarm1")
    assert shown.stdout.count("\n") == 1
    assert (
        "whoever reads it first, one machine only (more: --uses N), may join until 20"
        in shown.stderr
    )

    joined = document(
        swarmnode(
            beta, "join", "-", "--name", "beta", "-o", "json", text=f"\n{shown.stdout}and more"
        )
    )
    assert (joined["changed"], joined["lab"], joined["machine"]) == (True, "physics", "beta")
    assert joined["network"] == first["network"]
    assert joined["peer"] != first["peer"]
    again = document(swarmnode(beta, "join", shown.stdout.strip(), "-o", "jsonl"))
    assert again["changed"] is False
    table = swarmnode(beta, "init").stdout
    assert "changed      no\n" in table
    assert "next         swarmnode up\n" in table


def test_init_alone_makes_a_key_and_says_what_comes_next(tmp_path: Path) -> None:
    first = document(swarmnode(tmp_path / "n", "init", "-o", "json"))
    assert first["changed"] is True
    assert "join <invite>" in first["next"]
    assert "network" not in first
    assert (tmp_path / "n/config.toml").exists()


def test_what_was_chosen_at_init_is_kept_in_the_configuration(tmp_path: Path) -> None:
    home = tmp_path / "n"
    swarmnode(home, "init", "--profile", "test", "--site", 'r"2', "--role", "storage")
    done = swarmnode(home, "config", "show", "--origin", "-o", "jsonl")
    rows = {row["key"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["node.profile"]["value"] == "test"
    assert rows["node.site"]["value"] == 'r"2'
    assert rows["node.roles"]["value"] == ["storage"]
    assert rows["timers.lease_s"] == {
        "key": "timers.lease_s",
        "value": 6.0,
        "origin": "profile test",
    }


def test_each_damage_to_an_invite_has_its_own_line_and_code(alpha: Path, tmp_path: Path) -> None:
    text = swarmnode(alpha, "invite").stdout.strip()
    beta = tmp_path / "beta"
    assert "truncated" in complaint(swarmnode(beta, "join", text[:-5]), 2)
    other = "a" if text[200] != "a" else "b"
    assert "checksum" in complaint(swarmnode(beta, "join", text[:200] + other + text[201:]), 2)
    assert "begins with swarm1" in complaint(swarmnode(beta, "join", "-", text=""), 2)
    assert not beta.exists()


def test_wrong_flags_are_usage_errors_that_name_the_help(alpha: Path) -> None:
    assert "swarmnode invite --help" in complaint(swarmnode(alpha, "invite", "--foo"), 2)
    assert "write 30m, 12h or 7d" in complaint(swarmnode(alpha, "invite", "--expires", "x"), 2)
    too_long = swarmnode(alpha, "invite", "--expires", "99999999999d")
    assert "99999999999d is too much: at most 99999d" in complaint(too_long, 2)
    assert "did you mean 'init'" in complaint(swarmnode(alpha, "inti"), 2)
    assert "--open needs" in complaint(swarmnode(alpha, "init", "--open"), 2)
    assert "must look like" in complaint(swarmnode(alpha, "invite", "--address", "10.0.0.1"), 2)
    assert "must look like" in complaint(swarmnode(alpha, "recover", "--address", "nonsense"), 2)


def test_lab_recovery_is_written_down_or_refused_before_anything_is_made(tmp_path: Path) -> None:
    home = tmp_path / "n"
    assert "needs --new-network" in complaint(swarmnode(home, "init", "--lab-recovery"), 2)
    done = swarmnode(home, "init", "--new-network", "--lab-recovery")
    assert done.returncode == 0, done.stderr
    assert 'lab_recovery = "on"' in (home / "config.toml").read_text()
    other = tmp_path / "o"
    assert swarmnode(other, "init").returncode == 0
    line = complaint(swarmnode(other, "init", "--new-network", "--lab-recovery"), 1)
    assert 'write lab_recovery = "on"' in line
    assert not (other / "membership.json").exists()


def test_loose_keys_are_refused_with_the_command_that_mends_them(alpha: Path) -> None:
    key = alpha / "keys/machine.key"
    key.chmod(0o644)
    assert f"chmod 600 {key}" in complaint(swarmnode(alpha, "invite"), 4)
    done = swarmnode(alpha, "doctor", "-o", "json")
    assert done.returncode == 6
    found = {one["check"]: one for one in json.loads(done.stdout)["items"]}
    assert found["identity"]["status"] == "fail"
    assert found["identity"]["fix"] == f"chmod 600 {key}"


def test_without_a_network_there_is_no_invite(tmp_path: Path) -> None:
    swarmnode(tmp_path / "n", "init")
    line = complaint(swarmnode(tmp_path / "n", "invite"), 1)
    assert "belongs to no network" in line


def test_a_configuration_fault_names_the_nearest_key(alpha: Path) -> None:
    (alpha / "config.toml").write_text("[storage]\nqouta_gib = 3\nmin_free_gib = 'x'\n")
    done = swarmnode(alpha, "config", "show")
    assert done.returncode == 2
    assert "did you mean 'quota_gib'?" in done.stderr
    assert "min_free_gib = 'x' must be a number" in done.stderr
    assert "storage.quota_gib" in done.stdout, "it shows what is known all the same"


def test_a_fault_in_the_environment_is_mended_there(alpha: Path) -> None:
    wrong = {"SWARM_STORAGE__QUOTA_GIB": "x"}
    rows = json.loads(swarmnode(alpha, "doctor", "-o", "json", **wrong).stdout)["items"]
    (fix,) = [row["fix"] for row in rows if row["check"] == "config"]
    assert fix.startswith("correct or unset SWARM_STORAGE__QUOTA_GIB (")
    (alpha / "config.toml").write_text("[storage]\nqouta_gib = 3\n")
    rows = json.loads(swarmnode(alpha, "doctor", "-o", "json", **wrong).stdout)["items"]
    (fix,) = [row["fix"] for row in rows if row["check"] == "config"]
    assert fix.startswith("correct the file; correct or unset SWARM_STORAGE__QUOTA_GIB (")


def test_a_folder_that_is_open_to_others_is_refused_with_one_code(
    alpha: Path, tmp_path: Path
) -> None:
    invite = swarmnode(alpha, "invite").stdout.strip()
    home = tmp_path / "n"
    home.mkdir()
    home.chmod(0o755)
    for words in (("init", "--new-network", *NAMES), ("join", invite), ("run",)):
        done = swarmnode(home, *words)
        assert done.returncode == 4, (words, done.stderr)
        assert "chmod 700" in done.stderr


def test_an_invite_needs_a_port_that_is_known(alpha: Path) -> None:
    listen = {"SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/0"}
    line = complaint(swarmnode(alpha, "invite", **listen), 1)
    assert "swarmnode up" in line
    listen = {"SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/4321"}
    found = document(swarmnode(alpha, "invite", "-o", "json", **listen))
    assert found["addresses"][0].startswith("/ip4/127.0.0.1/tcp/4321/p2p/12D3KooW")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = complaint(swarmnode(tmp_path / "file" / "n", "init"), 1)
    assert "cannot create the folder" in line


def test_doctor_says_what_is_wrong_and_how_to_mend_it(alpha: Path) -> None:
    free = {"SWARM_LISTEN__ADDRESSES": "/ip4/127.0.0.1/tcp/0"}  # a node may run here
    done = swarmnode(alpha, "doctor", SWARM_COMPUTE__ENABLED="false", **free)
    assert done.returncode == 0, done.stdout
    for check in ("versions", "imports", "clock", "files", "disk", "identity", "ports", "gpu"):
        assert check in done.stdout
    assert "\x1b[" not in done.stdout
    (alpha / "config.toml").write_text("[sorage]\n")
    done = swarmnode(alpha, "doctor")
    assert done.returncode == 6
    assert "fail  config" in done.stdout


def test_help_is_cheap_and_imports_click_alone() -> None:
    code = (
        "import sys; from swarmnode.cli.main import run; run(['--help']);"
        "heavy = {'trio', 'libp2p', 'msgspec', 'cryptography', 'rich', 'p2p', 'tomllib'};"
        "sys.exit(sorted(heavy & set(sys.modules)) or 0)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent_s < 0.25  # 0.075 measured; the budget of 0.12 is bench's to watch


def test_every_command_has_a_summary_and_an_output_option() -> None:
    assert set(COMMANDS) == set(SUMMARIES)
    ours = ("config", "doctor", "init", "invite", "join")
    context = cli.make_context("swarmnode", ["init"])
    for name in ours:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.help is not None
        assert command.help.splitlines()[0] == SUMMARIES[name]
        leaves = [command]
        if hasattr(command, "commands"):
            leaves = list(command.commands.values())
        for leaf in leaves:
            assert "fmt" in {parameter.name for parameter in leaf.params}


def test_no_command_at_all_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_line([]) == 2
    assert "Commands:" in capsys.readouterr().out
    assert run_line(["--version"]) == 0
    assert capsys.readouterr().out.startswith("swarmnode ")
