"""What a hostile task can do to this machine: every limit and wall, tried for real."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from swarmnode.errors import LimitNotEnforceableError
from swarmnode.executor.port import JobId, Limit
from tests.job_lab import (
    MIB,
    PYTHON,
    SH,
    needs_bwrap,
    needs_python,
    needs_root,
    own_users,
    processes_with,
    run_job,
    running_executor,
    spec,
)

pytestmark = needs_bwrap


def existing(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]


def skip_unless_enforced(executor: object, limit: Limit) -> None:
    reason = executor.enforceable()[limit]  # type: ignore[attr-defined]
    if reason:
        pytest.skip(f"{limit} is not enforced here: {reason}")


async def test_a_task_is_nobody_without_capabilities_or_new_privileges(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        _, out, _ = await run_job(
            executor,
            spec("t.1", SH, "-c", "id -u; grep -E 'CapEff|NoNew|Seccomp:' /proc/self/status"),
        )
    assert out.split() == [
        "65534", "CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2",
    ]  # fmt: skip


async def test_a_task_sees_neither_the_nodes_files_nor_other_processes(tmp_path: Path) -> None:
    secret = tmp_path / "node.key"
    secret.write_text("secret")
    async with running_executor(tmp_path / "x") as executor:
        _, out, _ = await run_job(
            executor,
            spec(
                "t.1", SH, "-c",
                f"cat {secret} {tmp_path}/x/jobs/t.1/record.json /etc/shadow; ls /root /home; "
                "ls /proc | grep -c '^[0-9]'",
            ),
        )  # fmt: skip
    assert "secret" not in out
    assert int(out.split()[-1]) <= 6  # the sandbox's first process, the shell, its pipeline


async def test_no_open_file_of_the_node_lives_on_under_a_job(tmp_path: Path) -> None:
    place = tmp_path / "api.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    listener.set_inheritable(True)  # as HTTP servers make theirs
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JobId("t.1"))
        await executor.start(spec("t.1", "/bin/sleep", "600"))
        listener.close()
        with socket.socket(socket.AF_UNIX) as caller, pytest.raises(ConnectionRefusedError):
            caller.connect(str(place))
        await executor.stop(JobId("t.1"), 0)


async def test_a_task_cannot_write_outside_its_work_folder_and_small_scratch(
    tmp_path: Path,
) -> None:
    script = (
        "for f in /usr/x /x /etc/x /dev/x /proc/sys/kernel/core_pattern /proc/sysrq-trigger "
        "/run/swarm/x; do "
        "( : > $f ) 2>/dev/null && echo wrote $f; done; "
        "cat /proc/kmsg /proc/sysrq-trigger; "
        "touch /work/ok && echo work; touch /tmp/ok && echo tmp; "
        "head -c 64000000 /dev/zero > /tmp/big || echo tmp-full; rm /tmp/big; "
        "head -c 64000000 /dev/zero > /dev/shm/big || echo shm-full"
    )
    async with running_executor(tmp_path / "x") as executor:
        _, out, _ = await run_job(executor, spec("t.1", SH, "-c", script, memory_bytes=64 * MIB))
    assert out.split() == ["work", "tmp", "tmp-full", "shm-full"]


@needs_python
async def test_a_task_has_no_network_but_its_own_loopback(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    script = (
        "import socket\n"
        f"for where in (('127.0.0.1', {port}), ('192.0.2.1', 80)):\n"
        "    try:\n"
        "        socket.create_connection(where, 2)\n"
        "        print('reached', where)\n"
        "    except OSError as exc:\n"
        "        print('refused')\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(s.getsockname(), 2)\n"
        "print('loopback')\n"
    )
    with listener:
        async with running_executor(tmp_path / "x") as executor:
            _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", script))
    assert out.split() == ["refused", "refused", "loopback"], err


@needs_python
async def test_dangerous_calls_are_refused_nested_namespaces_first(tmp_path: Path) -> None:
    script = (
        "import ctypes, errno, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(number, *a):\n"
        "    ctypes.set_errno(0)\n"
        "    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(x) for x in a])\n"
        "    return errno.errorcode.get(ctypes.get_errno(), 'allowed')\n"
        "x86 = os.uname().machine == 'x86_64'\n"
        "unshare, ptrace, keyctl, bpf = (272, 101, 250, 321) if x86 else (97, 117, 219, 280)\n"
        "clone, ioctl, perf = (56, 16, 298) if x86 else (220, 29, 241)\n"
        "print(call(unshare, 0x10000000), call(clone, 0x10000000 | 17, 0, 0, 0, 0))\n"
        "print(call(435, 0, 0), call(ptrace, 0, 0, 0, 0), call(keyctl, 0, 0), call(bpf, 0, 0, 0))\n"
        "print(call(perf, 0, 0, 0, 0, 0), call(425, 1, 0), call(ioctl, 0, 0x5412, 0))\n"
        "print(call(ioctl, 0, 0x100005412, 0))\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    async with running_executor(tmp_path / "x") as executor:
        ended, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", script))
    assert ended.code == 0, err
    assert out.split() == ["EPERM", "EPERM", "ENOSYS", *["EPERM"] * 7, "7"]


@needs_python
async def test_a_task_over_its_memory_is_killed_whole(tmp_path: Path) -> None:
    script = (
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '611'])\n"
        "x = bytearray(300 << 20)\n"
        "print('survived')\n"
    )
    async with running_executor(tmp_path / "x") as executor:
        skip_unless_enforced(executor, Limit.MEMORY)
        ended, out, _ = await run_job(
            executor, spec("t.1", PYTHON, "-c", script, memory_bytes=64 * MIB)
        )
    assert (ended.reason, out) == ("oom", "")
    assert 32 * MIB < ended.memory_peak_bytes <= 64 * MIB
    assert processes_with("sleep\x00611") == []


@needs_python
async def test_a_task_ends_when_the_kernel_killed_one_of_its_children_for_memory(
    tmp_path: Path,
) -> None:
    script = (
        "import subprocess, sys, time\n"
        "subprocess.run([sys.executable, '-c', 'x = bytearray(300 << 20)'])\n"
        "time.sleep(60)\n"
    )
    async with running_executor(tmp_path / "x") as executor:
        skip_unless_enforced(executor, Limit.MEMORY)
        ended, _, _ = await run_job(
            executor, spec("t.1", PYTHON, "-c", script, memory_bytes=64 * MIB)
        )
    assert ended.reason == "oom"
    assert ended.wall_s < 30


@needs_python
async def test_a_fork_bomb_stays_within_its_processes(tmp_path: Path) -> None:
    script = (
        "import os, time\n"
        "started = 1\n"
        "try:\n"
        "    while os.fork(): started += 1\n"
        "except BlockingIOError: os.write(1, b'%d\\n' % started)\n"  # in one piece
        "time.sleep(612)\n"
    )
    job = JobId("t.1")
    async with running_executor(tmp_path / "x") as executor:
        skip_unless_enforced(executor, Limit.PIDS)
        await executor.prepare(job)
        await executor.start(spec(job, PYTHON, "-c", script, pids_max=16))
        await executor.log_grew(job, "stdout", 0)
        said = await executor.read_log(job, "stdout", 0, MIB)
        alive = len([pid for pid in processes_with("sleep(612)") if executor.owns(pid)])
        ended = await executor.stop(job, 0)
    assert (said, ended.reason) == (b"16\n", "killed")
    assert 16 <= alive <= 17  # bubblewrap's command line holds the script, too
    assert processes_with("sleep(612)") == []


async def test_the_wall_clock_kills_a_tree_that_hides_in_sessions_of_its_own(
    tmp_path: Path,
) -> None:
    script = "(setsid sh -c 'setsid sleep 613 & sleep 613' &); sleep 613"
    async with running_executor(tmp_path / "x") as executor:
        ended, _, _ = await run_job(executor, spec("t.1", SH, "-c", script, wall_s=1.0))
        assert processes_with("sleep\x00613") == []
    assert ended.reason == "wall"
    assert 1.0 <= ended.wall_s < 10


@pytest.mark.parametrize(
    "script",
    [
        "i=0; while :; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); done",
        "head -c 50000000 /dev/zero > one; sleep 60",
        "mkdir -p a/b; cd a/b; while :; do head -c 1000000 /dev/zero >> f; chmod 0 ..; done",
        "exec 3> gone; rm gone; while :; do head -c 1000000 /dev/zero >&3; done",
    ],
    ids=["many files", "one file", "hidden folder", "deleted file"],
)
async def test_a_task_over_its_disk_is_killed(tmp_path: Path, script: str) -> None:
    async with running_executor(tmp_path / "x") as executor:
        ended, _, _ = await run_job(
            executor, spec("t.1", SH, "-c", script, disk_bytes=10 * MIB, memory_bytes=512 * MIB)
        )
    assert ended.reason == "disk" or ended.code != 0
    assert ended.wall_s < 25


async def test_an_endless_log_ends_its_task_and_is_not_called_the_disk(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x", log_bytes=4 * MIB) as executor:
        ended, _, _ = await run_job(executor, spec("t.1", SH, "-c", "yes", disk_bytes=MIB))
    assert ended.reason == "log"


async def test_all_limits_that_are_claimed_are_in_the_exit(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        claimed = tuple(limit for limit, why in executor.enforceable().items() if not why)
        ended, _, _ = await run_job(executor, spec("t.1", "/bin/true"))
        lacking = [limit for limit, why in executor.enforceable().items() if why]
        for limit in lacking:
            with pytest.raises(LimitNotEnforceableError, match=limit):
                await executor.start(spec("t.2", "/bin/true", must_enforce=frozenset({limit})))
    assert ended.enforced == claimed


async def test_the_cpu_of_two_jobs_is_shared_by_weight(tmp_path: Path) -> None:
    spin = ("-c", "taskset -c 0 sh -c 'while :; do :; done'")
    async with running_executor(tmp_path / "x") as executor:
        skip_unless_enforced(executor, Limit.CPU)
        for job, cpu in (("t.1", 500), ("t.2", 2000)):
            await executor.prepare(JobId(job))
            await executor.start(spec(job, SH, *spin, cpu_millis=cpu))
        await trio.sleep(2.0)
        used = [(await executor.stop(JobId(job), 0)).cpu_s for job in ("t.1", "t.2")]
    assert used[1] > 1.5 * used[0], used


async def test_a_job_dies_with_its_shim_and_is_reported_lost(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JobId("t.1"))
        await executor.start(spec("t.1", SH, "-c", "setsid sleep 614 & sleep 614"))
        state = executor._known(JobId("t.1")).folder.read_state()
        assert state is not None
        os.kill(state.shim, 9)
        ended = await executor.wait(JobId("t.1"))
    assert ended.reason == "lost"
    assert processes_with("sleep\x00614") == []


async def test_nothing_of_a_forgotten_job_is_left(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        script = (
            "mkdir -p a; chmod 0 a; i=0; while [ $i -lt 300 ]; do mkdir d; cd d; i=$((i+1)); done"
        )
        await run_job(executor, spec("t.1", SH, "-c", script))
        groups = executor._known(JobId("t.1")).record.cgroup
        await executor.forget(JobId("t.1"))
        assert not existing(groups.values())
        assert os.listdir(tmp_path / "x" / "jobs") == []


@needs_root
async def test_in_a_container_a_task_is_a_user_that_cannot_read_the_nodes_state(
    open_path: Path,
) -> None:
    state = open_path / "state"
    state.mkdir(mode=0o700)
    (state / "node.key").write_text("secret")
    script = (
        f"cat {state}/node.key; ls {state}; ls {open_path}/x/jobs; id -u; "
        f"touch $HOME/ok $TMPDIR/ok && echo home; cat {open_path}/x/jobs/t.1/record.json; "
        "echo > /usr/x || echo ro"
    )
    async with running_executor(open_path / "x", sandbox="container") as executor:
        _, out, err = await run_job(executor, spec("t.1", SH, "-c", script))
    uid, *rest = out.split()
    assert int(uid) >= 61_000
    assert rest == ["home", "ro"], err
    assert "secret" not in out


@needs_root
@needs_python
async def test_in_a_container_only_unix_sockets_can_be_made(open_path: Path) -> None:
    script = (
        "import socket\n"
        "socket.socket(socket.AF_UNIX)\n"
        "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):\n"
        "    try: socket.socket(family); print('made')\n"
        "    except PermissionError: print('refused')\n"
    )
    async with running_executor(open_path / "x", sandbox="container") as executor:
        _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", script))
    assert out.split() == ["refused"] * 3, err


@needs_root
async def test_in_a_container_nothing_of_a_killed_tree_survives(open_path: Path) -> None:
    script = "(setsid sh -c 'setsid sleep 615 & sleep 615' &); trap '' TERM; sleep 615; sleep 615"
    async with running_executor(open_path / "x", sandbox="container") as executor:
        ended, _, _ = await run_job(executor, spec("t.1", SH, "-c", script, wall_s=1.0))
        assert processes_with("sleep\x00615") == []
    assert ended.reason == "wall"


def test_another_run_of_these_tests_does_not_have_our_users() -> None:
    script = "from tests.job_lab import own_users; print(own_users()[0].start)"
    ours, _ = own_users()
    said = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert int(said.stdout) not in ours
