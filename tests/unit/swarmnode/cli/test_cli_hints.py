"""The line that helps is not given where it would not."""

from swarmnode.cli.project.hints import of_failure

SAID = b"/env/venv/bin/python: No module named sample.__main__; 'sample' is a package and cannot be"


def test_a_package_that_is_no_program_is_not_taken_for_one_that_lacks() -> None:
    assert of_failure(SAID + b" directly executed\n", (), {}, "", "") == ""
    assert "has no sample" in of_failure(b"python: No module named sample\n", (), {}, "", "")
