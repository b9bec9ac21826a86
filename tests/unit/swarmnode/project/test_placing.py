"""Results land in their places and nowhere else, whatever a task has left."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from swarmnode.project.landing import FileMark
from swarmnode.project.placing import Brought, Placer, is_history, root_folder
from swarmnode.tree.names import Parts


def write(folder: Path, **names: str) -> None:
    for name, text in names.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path / "project", train="mine", results__old="mine")
    write(tmp_path / "project" / ".git" / "hooks", sample="")
    return tmp_path / "project"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def placed(
    source: Path, project: Path, *patterns: str, known: Mapping[Parts, FileMark] | None = None
) -> Brought:
    root = root_folder(project)
    try:
        return Placer(source, root, known or {}, patterns or (".",), b".abc").place()
    finally:
        os.close(root)


def mark(path: Path) -> FileMark:
    info = path.lstat()
    return FileMark(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def test_files_come_to_folders_that_are_there_and_to_new_ones_with_their_rights(
    source: Path, project: Path
) -> None:
    write(source, results__new="1", deep__er__x="2")
    (source / "deep").chmod(0o555)
    done = placed(source, project)
    assert (project / "results/new").read_text() == "1"
    assert (project / "deep/er/x").read_text() == "2"
    assert (project / "deep").stat().st_mode & 0o777 == 0o555
    assert (done.files, done.beside, done.refused) == (2, [], [])
    assert set(done.marks) == {(b"results", b"new"), (b"deep", b"er", b"x")}


def test_no_result_lands_through_a_link(source: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (project / "out").symlink_to(tmp_path / "elsewhere")
    (project / "hooks").symlink_to(".git/hooks")
    write(source, out__a="1", hooks__post_merge="bad")
    done = placed(source, project)
    assert not list((tmp_path / "elsewhere").iterdir())
    assert [path.name for path in (project / ".git/hooks").iterdir()] == ["sample"]
    assert (project / "out.abc/a").read_text() == "1"
    assert done.beside == ["hooks.abc", "out.abc"]


def test_a_link_beside_is_no_way_into_a_repository(source: Path, project: Path) -> None:
    (project / "src").mkdir()
    (source / "src").symlink_to(".git/hooks")
    write(source, **{"src.abc__pre_commit": "bad"})
    done = placed(source, project)
    assert [path.name for path in (project / ".git/hooks").iterdir()] == ["sample"]
    assert done.refused == ["src: is, or leads into, what a repository runs by itself"]


@pytest.mark.parametrize("name", [".git", ".GIT", ".git.", "git~1", ".swarm", ".hg"])
def test_nothing_lands_in_a_history_however_it_is_spelt(
    source: Path, project: Path, name: str
) -> None:
    assert is_history(os.fsencode(name))
    (source / name).mkdir()
    (source / name / "config").write_text("bad")
    done = placed(source, project)
    assert len(done.refused) == 1
    assert not (project / name / "config").exists()
    assert done.files == 0


def test_a_folder_meets_a_file_of_ours_and_a_file_a_folder(source: Path, project: Path) -> None:
    write(source, train__a="1", train__b="2", results="3")
    done = placed(source, project)
    assert (project / "train").read_text() == "mine"
    assert (project / "train.abc/b").read_text() == "2"
    assert (project / "results.abc").read_text() == "3"
    assert sorted(done.beside) == ["results.abc", "train.abc"]


def test_what_was_not_asked_for_is_not_placed(source: Path, project: Path) -> None:
    write(source, train="theirs", results__a="1", results__deep__b="2", **{"x.txt": "3"})
    known: dict[Parts, FileMark] = {(b"train",): mark(project / "train")}
    done = placed(source, project, "results", "*.txt", known=known)
    assert (project / "train").read_text() == "mine"
    assert done.refused == ["train: was not asked for"]
    assert done.files == 3


def test_one_that_cannot_be_placed_does_not_hold_up_the_others(source: Path, project: Path) -> None:
    long = "n" * 255
    (project / long).write_text("mine")
    write(source, **{long: "theirs", "zz": "1"})
    done = placed(source, project)
    assert (project / "zz").read_text() == "1"
    assert (project / long).read_text() == "mine"
    (beside,) = done.beside
    assert (project / beside).read_text() == "theirs"


def test_no_repository_comes_to_be_by_results(source: Path, project: Path) -> None:
    for folder in ("bare", "half"):
        write(source / folder, HEAD="x", config="bad", refs__heads="", objects__a="")
    (source / "half" / "HEAD").unlink()
    write(project / "half", HEAD="mine")
    write(source, fine="1")
    done = placed(source, project)
    assert done.refused == [
        "bare: is a repository, or would be one", "half: is a repository, or would be one",
    ]  # fmt: skip
    assert (project / "fine").read_text() == "1"
    assert not list((project / "bare").iterdir())


def test_what_lost_its_rights_comes_all_the_same_and_gives_no_more_than_ours(
    source: Path, project: Path
) -> None:
    write(source, open__a="1", shut__b="2")
    (source / "open").chmod(0o777)
    (source / "open/a").chmod(0o666)
    (source / "shut").chmod(0o000)
    source.chmod(0o000)
    os.umask(umask := os.umask(0o022))
    try:
        os.umask(0o022)
        assert placed(source, project).files == 2
    finally:
        os.umask(umask)
    assert (project / "open").stat().st_mode & 0o777 == 0o755
    assert (project / "open/a").stat().st_mode & 0o777 == 0o644


def test_links_come_back_and_give_way_like_files(source: Path, project: Path) -> None:
    (project / "latest").symlink_to("results/old")
    (source / "latest").symlink_to("results/new")
    known: dict[Parts, FileMark] = {(b"latest",): mark(project / "latest")}
    done = placed(source, project, known=known)
    assert (project / "latest").readlink() == Path("results/new")
    assert not done.beside
