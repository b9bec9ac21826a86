"""Whether a machine can make networks for tasks is tried, and what it lacks is said."""

from swarmnode.executor.sandbox import net_trial


def test_a_container_without_namespaces_has_none_for_tasks() -> None:
    assert "sandbox = container" in net_trial.trouble(is_container=True)


def test_what_a_machine_lacks_comes_with_the_remedy() -> None:
    """Empty where it can."""
    trouble = net_trial.trouble(is_container=False)
    assert trouble == "" or ("cannot be made: " in trouble and "; " in trouble)
