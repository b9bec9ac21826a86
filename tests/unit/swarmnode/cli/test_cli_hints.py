"""The line that helps is not given where it would not."""

from swarmnode.cli.project.hints import of_failure
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import Found

SAID = b"/env/venv/bin/python: No module named sample.__main__; 'sample' is a package and cannot be"


def test_a_package_that_is_no_program_is_not_taken_for_one_that_lacks() -> None:
    assert of_failure(SAID + b" directly executed\n", (), {}, "", "") == ""
    assert "has no sample" in of_failure(b"python: No module named sample\n", (), {}, "", "")


def test_a_package_above_the_folder_we_stand_in_is_found_where_it_lies() -> None:
    said = b"python: No module named pkg\n"
    places: tuple[Parts, ...] = ((), (b"pkg",))
    sent = {parts: Found(parts, EntryKind.FOLDER, 0o755) for parts in places}
    here = of_failure(said, (b"pkg",), sent, "", "the environment has no {}")
    assert here == "pkg lies in ../: --set PYTHONPATH=.."
    at_root = of_failure(said, (), sent, "", "the environment has no {}")
    assert at_root == "the environment has no pkg"
