"""The bench of containment in small: a node that is killed again and again leaves nothing."""

from bench.containment import leaks, start
from tests.job_lab import needs_bwrap

pytestmark = needs_bwrap


def test_jobs_of_a_node_that_is_killed_leave_nothing_behind() -> None:
    found = leaks.measure(40, seed=7)
    assert int(str(found["leaks_jobs"])) >= 40
    assert {key: value for key, value in found.items() if key.startswith("leaked") and value} == {}


def test_bubblewrap_by_itself_starts_what_the_executor_starts() -> None:
    found = start.measure(2)
    assert float(str(found["bwrap_ms"])) > 0
    assert float(str(found["cold_ms"])) > 0
