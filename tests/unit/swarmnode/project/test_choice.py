"""What of a folder goes along, with real folders and a real git."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from swarmnode.cli.project.sending import looked_at
from swarmnode.errors import ProjectError
from swarmnode.project import choice as choosing
from swarmnode.project.choice import Chosen, choose, largest
from swarmnode.project.pointers import pointers_in
from swarmnode.project.root import project_of
from swarmnode.tree.names import joined, text_of
from swarmnode.tree.scan import scan

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
needs_git = pytest.mark.skipif(
    shutil.which("git") is None, reason="there is no git here: apt-get install git"
)


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *who, *words], cwd=folder, env=ENVIRON, check=True, capture_output=True)


def write(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(chosen: Chosen) -> list[str]:
    return [text_of(joined(one.parts)) for one in chosen.found if one.parts]


def chosen_in(folder: Path, *, takes_all: bool = False) -> list[str]:
    return names(choose(folder, ENVIRON, takes_all=takes_all))


@needs_git
def test_tracked_and_new_files_go_and_ignored_ones_do_not(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "train.py", "src/a.py", "data/x.npz", "src/a.pyc", "new.txt", "gone.py")
    (tmp_path / "results").mkdir()
    (tmp_path / ".gitignore").write_text("/data/\n*.pyc\n")
    git(tmp_path, "add", "train.py", "src", "gone.py")
    (tmp_path / "gone.py").unlink()
    chosen = choose(tmp_path, ENVIRON)
    assert names(chosen) == [".gitignore", "new.txt", "results", "src", "src/a.py", "train.py"]
    left = {text_of(joined(one)) for one in chosen.passed_over}
    assert left == {"data", "src/a.pyc"}, "what is left out is told, but for the history"


@needs_git
def test_a_folder_within_a_repository_is_itself_and_not_the_whole(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "other/big", "mine/train.py", "mine/a.log")
    (tmp_path / ".gitignore").write_text("*.log\n")
    assert chosen_in(tmp_path / "mine") == ["train.py"]


@needs_git
def test_submodules_and_repositories_within_go_along(tmp_path: Path) -> None:
    lib, main = tmp_path / "lib", tmp_path / "main"
    for folder in (lib, main):
        folder.mkdir()
        git(folder, "init", "-q")
        write(folder, "code.py", "junk.tmp")
        (folder / ".gitignore").write_text("*.tmp\n")
        git(folder, "add", "code.py", ".gitignore")
        git(folder, "commit", "-q", "-m", "x")
    git(main, "submodule", "add", "-q", str(lib), "vendor/lib")
    shutil.copytree(lib, main / "own")
    have = chosen_in(main)
    assert {"vendor/lib/code.py", "own/code.py", "code.py"} <= set(have)
    assert not [name for name in have if name.endswith((".tmp", ".git")) or "/.git/" in name]


@needs_git
def test_a_submodule_that_is_not_checked_out_is_left_out_with_what_brings_it(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "update-index", "--add", "--cacheinfo", "160000," + "1" * 40 + ",lib/vendor")
    (tmp_path / "lib" / "vendor").mkdir(parents=True)
    words = looked_at(project_of(tmp_path, tmp_path.parent / "home"), takes_all=False).words()
    assert (
        "; left out: lib (submodules that are not checked out: git submodule update --init)"
        in words
    )


@needs_git
def test_what_only_looks_like_a_repository_is_refused_and_ends_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py", "nest/x")
    git(tmp_path, "add", "a.py")
    head = "160000," + "1" * 40 + ",nest"
    git(tmp_path, "update-index", "--add", "--cacheinfo", head)
    (tmp_path / "nest" / ".git").mkdir()
    with pytest.raises(ProjectError, match=r"git does not list .*nest: .*--all-files"):
        choose(tmp_path, ENVIRON)
    assert "nest/x" in chosen_in(tmp_path, takes_all=True)


@needs_git
def test_nothing_of_an_ignored_folder_goes_along_not_even_its_folders(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py", ".venv/lib/py/x", "exp/run.py", "exp/outputs/deep/y", "data/z/big")
    (tmp_path / "exp" / "empty").mkdir()
    (tmp_path / ".gitignore").write_text(".venv/\noutputs/\ndata/\n")
    (tmp_path / ".swarmignore").write_text("!data/\n")
    chosen = choose(tmp_path, ENVIRON)
    assert names(chosen) == [
        ".gitignore", ".swarmignore", "a.py", "data", "data/z", "data/z/big", "exp", "exp/empty",
        "exp/run.py",
    ]  # fmt: skip
    assert {text_of(joined(one)) for one in chosen.passed_over} == {".venv", "exp/outputs"}


def test_swarmignore_is_read_as_git_reads_its_own(tmp_path: Path) -> None:
    write(tmp_path, ".env", "a", "b\u2028c", "kept")
    (tmp_path / ".swarmignore").write_bytes(b"\xef\xbb\xbf.env\r\na\nb\xe2\x80\xa8c\n")
    assert chosen_in(tmp_path) == [".swarmignore", "kept"]
    (tmp_path / ".swarmignore").unlink()
    os.mkfifo(tmp_path / ".swarmignore")
    with pytest.raises(ProjectError, match="is no file"):
        choose(tmp_path, ENVIRON)


@needs_git
def test_no_hook_of_a_repository_is_run_and_no_variable_misleads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py")
    mark = tmp_path.with_name("was_run")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(hook))
    assert "a.py" in names(choose(tmp_path, {**ENVIRON, "GIT_DIR": "/nonexistent"}))
    assert not mark.exists()


@needs_git
def test_a_folder_of_which_git_ignores_all_is_no_empty_run(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "project/train.py")
    (tmp_path / ".gitignore").write_text("*\n")
    with pytest.raises(ProjectError, match="--all-files sends it"):
        choose(tmp_path / "project", ENVIRON)
    assert chosen_in(tmp_path / "project", takes_all=True) == ["train.py"]


def test_a_repository_without_git_says_so(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, "a.py")
    with pytest.raises(ProjectError, match="install git, or send everything with --all-files"):
        choose(tmp_path, {"PATH": "/nonexistent"})


def test_links_and_rights_go_along_and_sockets_are_told(tmp_path: Path) -> None:
    write(tmp_path, "run.sh", "a/b")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "to").symlink_to("a/b")
    os.mkfifo(tmp_path / "pipe")
    chosen = choose(tmp_path, ENVIRON)
    assert names(chosen) == ["a", "a/b", "run.sh", "to"]
    assert {one.mode for one in chosen.found if one.parts == (b"run.sh",)} == {0o755}
    assert [str(one) for one in chosen.specials] == ["'pipe' is a pipe"]


def test_too_much_stops_and_names_the_folders_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "data/raw/a", "data/raw/b", "small/c", text="x" * 1000)
    monkeypatch.setattr(choosing, "PROJECT_BYTES_MAX", 2000)
    with pytest.raises(ProjectError) as refused:
        choose(tmp_path, ENVIRON)
    lines = str(refused.value).splitlines()
    assert lines[1].split()[-1] == "data/raw/"
    assert lines[2].split()[-1] == "small/"
    found = scan(str(tmp_path)).found
    assert largest(found, by_names=True) == [("data/raw/", 2), ("small/", 1)]


def test_the_nearest_folder_with_a_mark_is_the_project(tmp_path: Path) -> None:
    write(tmp_path, "work/p/requirements.txt", "work/p/src/deep/x.py")
    here = tmp_path / "work/p/src/deep"
    project = project_of(here, tmp_path / "home")
    assert (project.root, project.within) == ((tmp_path / "work/p"), (b"src", b"deep"))
    bare = tmp_path / "bare"
    bare.mkdir()
    assert project_of(bare, tmp_path / "home").root == bare


def test_a_home_folder_is_no_project(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home, ".git/x", "work/train.py")
    with pytest.raises(ProjectError, match="holds your home folder"):
        project_of(home, home)
    assert project_of(home / "work", home).root == home / "work", "its dotfiles are no project"


def test_settings_stand_in_pyproject(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", text='[tool.swarm]\nenv = "torch"\noutputs = ["r"]\n')
    assert project_of(tmp_path, Path("/h")).settings == {"env": "torch", "outputs": ["r"]}
    write(tmp_path, "pyproject.toml", text="[tool\n")
    with pytest.raises(ProjectError, match=r"pyproject\.toml cannot be read"):
        project_of(tmp_path, Path("/h"))


@needs_git
def test_a_pattern_of_git_means_what_git_means_by_it(tmp_path: Path) -> None:
    root = tmp_path / "a project of mine"
    root.mkdir()
    git(root, "init", "-q")
    write(root, "data/big", "src/mine/data/__init__.py", "keep/a.log", "keep/b.log", "own.txt")
    (root / ".gitignore").write_text("data/*\n")
    (root / "keep" / ".gitignore").write_text("*.log\n!b.log\n")
    (root / ".git" / "info" / "exclude").write_text("/own.txt\n")
    assert [name for name in chosen_in(root) if not name.endswith(".gitignore")] == [
        "keep",
        "keep/b.log",
        "src",
        "src/mine",
        "src/mine/data",
        "src/mine/data/__init__.py",
    ]


@needs_git
def test_a_project_that_is_reached_by_a_link_is_the_folder_and_not_the_link(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    git(real, "init", "-q")
    write(real, "train.py", "junk.log")
    (real / ".gitignore").write_text("*.log\n")
    (tmp_path / "way").symlink_to(real)
    project = project_of(tmp_path / "way", Path("/nonexistent"))
    assert chosen_in(project.root) == [".gitignore", "train.py"]


def test_a_rule_that_leaves_all_out_leaves_all_out_which_is_said(tmp_path: Path) -> None:
    write(tmp_path, "output.dat", "src/a.py", ".hidden")
    (tmp_path / ".swarmignore").write_text("*\n")
    with pytest.raises(ProjectError, match=r"nothing in .* goes along"):
        choose(tmp_path, ENVIRON)
    (tmp_path / ".swarmignore").write_text(".*\n")
    assert chosen_in(tmp_path) == ["output.dat", "src", "src/a.py"], "hidden ones, and no more"


def test_what_git_lfs_has_not_fetched_is_told_apart(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    (tmp_path / "models").mkdir()
    (tmp_path / "models/big.bin").write_text(pointer)
    (tmp_path / "small.bin").write_text("x" * len(pointer))
    found = choose(tmp_path, {}).found
    assert list(pointers_in(tmp_path, found)) == [], "no rule could have made one"
    (tmp_path / ".gitattributes").write_text("*.bin filter=lfs\n")
    found = choose(tmp_path, {}).found
    assert list(pointers_in(tmp_path, found)) == [(b"models", b"big.bin")]
