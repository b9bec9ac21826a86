"""What doctor makes of other machines than this one."""

import os
import socket
from pathlib import Path

import pytest

from swarmnode.cli import output
from swarmnode.cli.doctor import machine as checks_machine
from swarmnode.cli.doctor import state as checks_state
from swarmnode.cli.doctor import surroundings as checks
from swarmnode.cli.main import run
from swarmnode.executor.kernel.disk_io import disk_under
from swarmnode.home.config import Config, ListenSection, StorageSection
from swarmnode.home.folders import Home, locate

BWRAP = '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit 0\n'
BROKEN_BWRAP = BWRAP + "echo 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def sandbox_on(root: Path, *, needed: bool = True, script: str = BROKEN_BWRAP) -> checks.Check:
    bwrap = root / "bwrap"
    bwrap.write_text(script)
    bwrap.chmod(0o755)
    return checks_machine.sandbox(needed=needed, root=root, bwrap=str(bwrap))


def test_ubuntus_apparmor_rule_is_found_with_the_exact_fix(tmp_path: Path) -> None:
    machine(tmp_path, {"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"})
    found = sandbox_on(tmp_path)
    assert found.status == checks.FAIL
    assert "AppArmor" in found.detail
    assert "/etc/apparmor.d/bwrap" in found.fix
    assert "userns," in found.fix


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        ({"proc/sys/kernel/unprivileged_userns_clone": "0\n"}, "unprivileged_userns_clone=1"),
        ({"proc/sys/user/max_user_namespaces": "0\n"}, "max_user_namespaces=15000"),
    ],
)
def test_a_kernel_without_user_namespaces_is_found(
    tmp_path: Path, files: dict[str, str], fix: str
) -> None:
    assert fix in sandbox_on(machine(tmp_path, files)).fix


def test_what_bubblewrap_said_is_shown_when_nothing_explains_it(tmp_path: Path) -> None:
    assert "Permission denied" in sandbox_on(tmp_path).detail
    assert sandbox_on(tmp_path, script=BWRAP + "exit 0\n").status == checks.OK


def test_a_broken_sandbox_only_warns_where_it_is_not_needed(tmp_path: Path) -> None:
    assert sandbox_on(tmp_path, needed=False).status == checks.WARN
    assert sandbox_on(machine(tmp_path, {".dockerenv": ""})).status == checks.WARN


def test_no_gpu_driver_is_normal_and_half_a_driver_is_not(tmp_path: Path) -> None:
    assert checks_machine.gpu(tmp_path).status == checks.OK
    machine(tmp_path, {"dev/nvidia0": ""})
    assert "driver is not loaded" in checks_machine.gpu(tmp_path).detail


def test_what_a_task_sees_is_shut_off_by_bubblewrap_or_landlock_or_said_to_be_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert checks_machine.paths(is_container=False).status == checks.OK
    monkeypatch.setattr("swarmnode.executor.kernel.landlock.abi", lambda: 7)
    assert "version 7" in checks_machine.paths(is_container=True).detail
    monkeypatch.setattr("swarmnode.executor.kernel.landlock.abi", lambda: 0)
    found = checks_machine.paths(is_container=True)
    assert found.status == checks.WARN
    assert "Linux 5.19" in found.fix


def test_where_tasks_can_only_read_their_images_it_is_said_why_and_what_would_help() -> None:
    found = checks_machine.images(Path("/proc"), sandbox="bwrap")  # nothing can be laid over that
    assert found.status == checks.WARN
    assert "images can only be read here (OSError" in found.detail
    assert "go to other machines" in found.detail
    assert "overlayfs" in found.fix
    assert checks_machine.images(Path("/proc"), sandbox="container").status == checks.OK


def test_a_rate_at_the_disk_is_held_by_version_two_only(tmp_path: Path) -> None:
    assert checks_machine.disk_io(0, tmp_path, tmp_path).status == checks.OK
    if not disk_under(str(tmp_path)):
        pytest.skip(f"{tmp_path} lies on no disk")
    assert "version 1" in checks_machine.disk_io(9, tmp_path, tmp_path).detail
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    for name, text in (("cgroup.controllers", "memory pids"), ("cgroup.procs", "")):
        (group / name).write_text(text)
    assert "Delegate" in checks_machine.disk_io(9, tmp_path, tmp_path).fix
    (group / "cgroup.controllers").write_text("io memory pids")
    found = checks_machine.disk_io(9, tmp_path, tmp_path)
    assert (found.status, "9 MB/s" in found.detail) == (checks.OK, True)


def test_control_groups_of_version_two_need_delegation(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user.slice"
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
            f"{group}/cgroup.controllers": "memory pids\n",
            f"{group}/cgroup.procs": "",
        },
    )
    found = checks_machine.control_groups(root)
    assert found.status == checks.WARN
    assert found.detail == "version 2: cpu of a task cannot be limited"
    assert "Delegate=yes" in found.fix
    machine(root, {f"{group}/cgroup.controllers": "cpu memory pids\n"})
    assert checks_machine.control_groups(root).status == checks.OK


def test_control_groups_of_version_one_are_looked_at_one_by_one(tmp_path: Path) -> None:
    root = machine(tmp_path, {"proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/y\n"})
    for name in ("memory/x", "cpu/y"):
        (root / "sys/fs/cgroup" / name).mkdir(parents=True)
    found = checks_machine.control_groups(root)
    assert found.detail == "version 1: pids of a task cannot be limited"


@pytest.mark.parametrize(
    ("release", "is_container", "closed"),
    [
        ("6.18.5-generic", False, "memory, cpu"),
        ("5.14.0", False, "memory, cpu"),
        ("5.13.19", False, "memory, pids, cpu"),
        ("5.10.0", True, "memory, cpu"),
    ],
)
def test_processes_are_limited_without_a_group_where_the_kernel_counts_those_of_a_job_apart(
    tmp_path: Path, release: str, is_container: bool, closed: str
) -> None:
    root = machine(tmp_path, {"proc/sys/kernel/osrelease": f"{release}\n"})
    found = checks_machine.control_groups(root, is_container=is_container)
    assert found.detail == f"version 1: {closed} of a task cannot be limited"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = locate({"SWARM_HOME": str(tmp_path / "n")})
    found.make()
    return found


def test_wrong_places_in_the_configuration_are_all_told_by_whoever_looks_at_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_HOME", str(home.state))
    home.config_file.write_text('[listen]\naddresses = ["foo"]\n[api]\ntcp = "nonsense"\n')
    assert run(["config", "show"]) == 2
    assert run(["doctor"]) == 6
    told = capsys.readouterr()
    for words in ("'foo' is not like /ip4", "'nonsense' is not HOST:PORT"):
        assert words in told.err
        assert words in told.out
    assert run(["run", "--listen", "bar", "--api-tcp", "x:y"]) == 2
    told = capsys.readouterr()
    for words in ("'bar' is not like", "'x:y' is not HOST", "'foo' is not like", "'nonsense' is"):
        assert words in told.err


def test_a_port_in_use_is_found_unless_our_own_node_has_it(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = Config(listen=ListenSection(addresses=(f"/ip4/127.0.0.1/tcp/{port}",)))
        found = checks.ports(home, config)
        assert found.status == checks.FAIL
        assert str(port) in found.detail
        with socket.socket(socket.AF_UNIX) as node:
            node.bind(str(home.api_socket))
            node.listen()
            assert checks.ports(home, config).status == checks.OK
    assert checks.ports(home, Config(listen=ListenSection(addresses=()))).status == checks.OK


def test_a_quota_larger_than_the_disk_is_a_warning_with_a_number(home: Home) -> None:
    found = checks.disk(home, Config(storage=StorageSection(quota_gib=1e6)))
    assert found.status == checks.WARN
    assert "SWARM_STORAGE__QUOTA_GIB=" in found.fix
    assert checks.disk(home, Config(storage=StorageSection(quota_gib=0))).status == checks.OK


def test_a_clock_before_this_program_was_written_fails() -> None:
    assert checks.clock(1_000_000_000_000).status == checks.FAIL


def test_imports_come_from_beside_this_package() -> None:
    assert checks.imports().status == checks.OK


def test_a_name_from_a_peer_cannot_paint_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"name": "a\x1b[31m\nb"}, "table")
    output.emit_rows([{"name": "\x9b31m"}], "table", ("name",))
    assert capsys.readouterr().out == "name  a?[31m?b\nNAME\n?31m\n"


def test_what_was_typed_with_a_backslash_is_told_as_it_was_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd = os.fsdecode(b"\xfe")
    output.complain(f"no task {odd + chr(92)!r}, {chr(92) + 'udcfe'!r} or {odd}")
    assert capsys.readouterr().err == ("error: no task '\\xfe\\\\', '\\\\udcfe' or \\xfe\n")


def test_a_list_prints_as_table_json_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"id": "a", "n": 1, "more": None}, {"id": "bcd", "n": [1, 2]}]
    output.emit_rows(rows, "table", ("id", "n"))
    output.emit_rows(rows[:1], "jsonl", ("id",))
    output.emit_rows([], "json", ("id",))
    assert capsys.readouterr().out == (
        "ID   N\na    1\nbcd  1, 2\n"
        '{"id": "a", "n": 1, "more": null}\n'
        '{\n  "v": 1,\n  "items": []\n}\n'
    )


@pytest.mark.parametrize(
    ("home", "status", "kind"),
    [
        ("/home/ann/n", "ok", "ext4"),
        ("/home/my lab/n", "warn", "nfs4"),
        ("/n", "ok", "overlay"),
        ("/labor/Größe/n", "warn", "cifs"),
        ("/labor/\udcff\n\u2028\u00a0#\\040/n", "warn", "ceph"),
    ],
)
def test_a_state_folder_on_a_network_file_system_is_warned_of(
    tmp_path: Path, home: str, status: str, kind: str
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(
        os.fsencode(
            "21 1 0:20 / / rw,relatime - overlay overlay rw\n"
            "22 21 8:1 / /home rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
            "23 22 0:50 / /home/my\\040lab rw,relatime - nfs4 server:/export rw\n"
            "24 21 0:51 / /labor/Größe rw - cifs //server/Größe rw\n"
            "25 21 0:52 / /labor/\udcff\\012\u2028\u00a0\\043\\134040 rw - ceph a:/ rw\n"
        )
    )
    found = checks_state.file_system(locate({"SWARM_HOME": home}), mounts)
    assert (found.status, kind in found.detail) == (status, True)
    assert ("a disk of this machine" in found.fix) == (status == "warn")


def test_without_a_node_nobody_could_have_noticed_a_copy(tmp_path: Path) -> None:
    assert checks_state.copies(locate({"SWARM_HOME": str(tmp_path)})).status == "ok"


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ((), checks.WARN, "no mkfs.ext4"),
        (("sbin/mkfs.ext4",), checks.WARN, "no loop devices"),
        (("usr/sbin/mkfs.ext4", "dev/loop-control"), checks.OK, "of its own"),
    ],
)
def test_doctor_says_whether_tasks_get_file_systems_of_their_own(
    tmp_path: Path, files: tuple[str, ...], status: str, said: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    found = checks_machine.work_disks(tmp_path, is_root=True)
    assert (found.status, said in found.detail) == (status, True)
    assert "measured" in checks_machine.work_disks(tmp_path, is_root=False).detail
