"""Which logs are not whole, who has the rest, and how long that is waited for."""

from p2p.effects import Notify
from p2p.ids import PeerId
from swarmnode.market.buyer.events import LogSettled
from swarmnode.market.buyer.logs.late import FOLLOWED_S, LateLogs
from swarmnode.market.guardians.events import LogsTold
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import Phase, State

TASK = TaskId("t")
GUARDIAN, PROVIDER = PeerId("guardian"), PeerId("provider")
SETTLED = [Notify(LogSettled(TASK))]


def late() -> LateLogs:
    """One task whose log is expected at second 0."""
    logs = LateLogs()
    logs.expect(TASK, (GUARDIAN, PROVIDER), 0.0)
    return logs


def test_a_log_is_whole_once_its_guardian_has_told_all() -> None:
    logs = late()
    assert (logs.where(TASK), logs.is_waited_for(TASK)) == (GUARDIAN, True)
    assert logs.told(LogsTold(TASK, GUARDIAN, is_whole=True)) == SETTLED
    assert (logs.where(TASK), logs.is_waited_for(TASK)) == ("", False)


def test_a_result_or_a_removal_ends_the_wait_once() -> None:
    logs = late()
    assert (logs.came(TASK), logs.came(TASK)) == (SETTLED, [])
    logs = late()
    logs.forget(TASK)
    assert (logs.where(TASK), logs.tick(FOLLOWED_S)) == ("", [])


def test_nobody_is_waited_for_when_none_has_more() -> None:
    logs = late()
    assert logs.answered(PROVIDER, State(TASK, 1, Phase.REPORTING)) == []
    assert logs.told(LogsTold(TASK, GUARDIAN, is_whole=False)) == []
    assert logs.where(TASK) == PROVIDER
    assert logs.answered(PROVIDER, State(TASK, 1, Phase.UNKNOWN)) == SETTLED
    assert logs.where(TASK) == ""


def test_what_a_stranger_says_changes_nothing() -> None:
    logs = late()
    assert logs.told(LogsTold(TASK, PeerId("eve"), is_whole=False)) == []
    assert logs.answered(PeerId("eve"), State(TASK, 1, Phase.UNKNOWN)) == []
    assert logs.where(TASK) == GUARDIAN


def test_readers_are_let_go_after_a_minute_and_told_where_the_rest_is() -> None:
    logs = late()
    assert logs.tick(FOLLOWED_S - 1) == []
    assert logs.tick(FOLLOWED_S) == SETTLED
    assert (logs.where(TASK), logs.is_waited_for(TASK)) == (GUARDIAN, False)
    assert logs.told(LogsTold(TASK, GUARDIAN, is_whole=True)) == SETTLED
