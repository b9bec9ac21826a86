"""Which names of a project's folder go along."""

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.rules import Listing, Rules
from swarmnode.tree.names import Parts


def parts(name: str) -> Parts:
    return tuple(part.encode() for part in name.split("/"))


def rules(*ignore: str, git: str | None = None, new: str = "", takes_all: bool = False) -> Rules:
    """`git`: what it would commit; `new`: folders in which it tracks nothing."""
    listing = None
    if git is not None:
        names, folders = (frozenset(map(parts, text.split())) for text in (git, new))
        listing = Listing(names, folders)
    return Rules(ignore, listing, takes_all=takes_all)


def test_without_git_all_goes_but_what_programs_leave_behind() -> None:
    some = rules()
    assert some.takes(parts("a/train.py"))
    assert some.takes(parts(".env"))
    assert not some.takes(parts("a/train.pyc"))
    for folder in (".venv", "a/__pycache__", "node_modules", ".git", ".swarm"):
        assert not some.enters(parts(folder))
    assert some.enters(parts("results"))


def test_what_git_would_commit_goes_and_nothing_else() -> None:
    some = rules(git="train.py src/a.py", new="results")
    assert some.takes(parts("src/a.py"))
    assert not some.takes(parts("data.npz"))
    assert some.enters(parts("src"))
    assert some.enters(parts("results")), "an empty folder that a program writes to"
    assert some.enters(parts("results/day1"))
    assert not some.enters(parts("results/.venv"))
    assert not some.enters(parts("data")), "ignored"


def test_swarmignore_has_the_last_word_in_both_directions() -> None:
    some = rules("*.md", "/big/", "!/data/", "!secret.key", git="README.md train.py big/x")
    assert not some.takes(parts("README.md"))
    assert not some.enters(parts("big"))
    assert some.enters(parts("data"))
    assert some.takes(parts("data/set.npz"))
    assert some.takes(parts("conf/secret.key"))
    assert not some.takes(parts("other.npz")), "git ignores it, and nobody brings it back"


@pytest.mark.parametrize("name", [".git", "vendor/lib/.git", ".swarm", ".hg"])
def test_the_history_of_a_project_never_goes_along(name: str) -> None:
    for some in (rules("!.git", "!.git/", "!.swarm/", takes_all=True), rules(git=name)):
        assert not some.enters(parts(name))
        assert not some.takes(parts(name))


def test_all_files_are_all_but_what_swarmignore_names() -> None:
    some = rules("*.ckpt", takes_all=True)
    assert some.enters(parts(".venv"))
    assert some.takes(parts("a.pyc"))
    assert not some.takes(parts("a.ckpt"))


def test_names_that_are_not_utf_8_are_names() -> None:
    some = rules("*.tmp")
    assert some.takes((b"caf\xe9.txt",))
    assert not some.takes((b"caf\xe9.tmp",))


def test_a_line_that_is_no_pattern_is_named() -> None:
    with pytest.raises(ProjectError, match=r"line 2 of \.swarmignore"):
        rules("ok", "!", git="")
