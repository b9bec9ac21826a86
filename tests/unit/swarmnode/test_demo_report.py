"""What the demonstration reads in the logs of its tasks."""

from swarmnode.demo.report import objects_in


def test_a_line_that_lost_its_end_to_a_kill_hides_neither_itself_nor_the_next() -> None:
    log = b'{"first_step": 0}\n{"step": 1}{"first_step": 1}\nnot JSON\n{"ste{"step": 2}\n'
    assert objects_in(log) == [{"first_step": 0}, {"step": 1}, {"first_step": 1}, {"step": 2}]
