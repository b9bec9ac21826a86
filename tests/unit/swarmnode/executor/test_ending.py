"""Why and when a shim ends its job, and what it kills then."""

import subprocess

from swarmnode.executor.shim.ending import Ending
from swarmnode.executor.shim.lease import boot_s
from swarmnode.executor.shim.order import Order
from swarmnode.executor.shim.process import ShimProcess

ORDER = [
    (key, "1")
    for key in (
        "argv", "wall_s", "disk_bytes", "entries_max", "memory_bytes", "log_bytes", "nofile",
        "enforced", "seccomp",
    )
]  # fmt: skip


def test_a_job_is_killed_when_its_time_is_over_and_again_while_it_lives() -> None:
    ending = Ending(kill_at_s=10.0, lease="")
    assert (ending.due(9.9), ending.due(10.0)) == ("", "wall")
    ending.record_kill("wall", 10.0)
    assert (ending.due(10.9), ending.due(11.0)) == ("", "wall")


def test_what_was_killed_once_is_known_so_that_the_next_kill_spares_nothing() -> None:
    ending = Ending(kill_at_s=10.0, lease="")
    assert not ending.record_kill("oom", 3.0)
    assert ending.record_kill("oom", 4.0)
    assert ending.explanation(137) == "oom"


def test_a_stop_gives_notice_once_and_only_brings_the_end_nearer() -> None:
    ending = Ending(kill_at_s=10.0, lease="")
    ending.stop(grace_s=5.0, now_s=1.0)
    assert (ending.is_notice_due, ending.kill_at_s) == (True, 6.0)
    ending.is_notice_due = False
    ending.stop(grace_s=60.0, now_s=2.0)
    assert (ending.is_notice_due, ending.due(6.0)) == (False, "killed")


def test_a_stop_without_grace_gives_no_notice() -> None:
    ending = Ending(kill_at_s=10.0, lease="")
    ending.stop(grace_s=0.0, now_s=1.0)
    assert (ending.is_notice_due, ending.due(1.0)) == (False, "killed")


def test_a_lease_that_ends_gives_notice_and_one_that_is_over_kills_once() -> None:
    ending = Ending(kill_at_s=10.0, lease=f"{boot_s() + 500.0} 600.0")
    assert not ending.heed_lease()
    assert ending.is_notice_due
    assert ending.explanation(0) == ending.explanation(1) == "lease"
    over = Ending(kill_at_s=10.0, lease="0.0 0.0")
    assert over.heed_lease()
    over.record_kill("lease", 1.0)
    assert not over.heed_lease()


def test_what_we_knew_is_not_replaced_by_what_comes_to_light_later() -> None:
    ending = Ending(kill_at_s=10.0, lease="")
    ending.explain("log")
    ending.explain("lost")
    assert ending.explanation(0) == "log"


def test_bubblewrap_is_left_to_tell_what_the_job_used_unless_that_had_to_be_killed_twice() -> None:
    job, bubblewrap = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
    process = ShimProcess("/nowhere", Order(ORDER))
    process.pid, process._child = job.pid, bubblewrap.pid
    try:
        process.kill(again=False)
        assert job.wait(10) == -9
        assert bubblewrap.poll() is None
        process.kill(again=True)
        assert bubblewrap.wait(10) == -9
    finally:
        bubblewrap.kill()
        bubblewrap.wait()
