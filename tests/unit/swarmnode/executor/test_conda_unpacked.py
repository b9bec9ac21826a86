"""An environment of conda, unpacked by the recipe; and how it is shown."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from swarmnode.errors import EnvironmentUnknownError
from swarmnode.executor.environments import building
from swarmnode.executor.environments.prefix import is_prefix, prefix_shown
from swarmnode.project.images.conda import CondaPrefix, pieces_of
from swarmnode.project.images.found import found_at
from swarmnode.project.images.notes import ImageNotes
from swarmnode.tasks.environments.naming import conda_lock
from tests.conda_lab import PLACEHOLDER, make_prefix, pack
from tests.image_lab import H, Item, S, layer

RECIPE = Path(building.__file__).parent / "recipe/image.py"


def prefix_at(path: Path, folder: Path) -> CondaPrefix:
    folder.mkdir()
    found = found_at(path, ImageNotes(folder, lambda: folder))
    assert isinstance(found, CondaPrefix)
    return found


def unpacked(top: Path, digest: str, prefix: str = "") -> "subprocess.CompletedProcess[str]":
    (top / ".lock").write_text(conda_lock(digest, prefix))
    command = [sys.executable, "-I", "-B", str(RECIPE), str(top)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def variables_of(top: Path) -> dict[str, str]:
    told = json.loads((top / "about.json").read_text())["variables"]
    assert isinstance(told, dict)
    return told


def test_a_packed_one_is_fitted_to_its_place_and_says_what_it_sets(tmp_path: Path) -> None:
    top = tmp_path / "env"
    top.mkdir()
    archive = pack(make_prefix(tmp_path / "p", written=PLACEHOLDER), tmp_path / "p.tar.gz")
    found = prefix_at(archive, tmp_path / "notes")
    archive.rename(top / ".image")
    done = unpacked(top, found.digest)
    assert done.returncode == 0, done.stderr
    assert f"cat {top}/share/words" in (top / "bin/tool").read_text()
    assert not (top / ".image").exists()
    assert variables_of(top) == {
        "CONDA_PREFIX": str(top),
        "BY_HAND": "x",
        "TOOL_DATA": f"{top}/share",
    }
    about = json.loads((top / "about.json").read_text())
    assert about["packages"] == ["doc 1", "tool 1.2"]
    assert is_prefix(top)
    shown = prefix_shown(top, str)
    assert shown.options == ("--ro-bind", str(top), "/env")
    assert shown.bins == ("/env/bin",)
    assert not shown.has_own_system


@pytest.mark.parametrize("root", ["lab", "envs/lab", "conda-meta"])
def test_one_that_was_packed_in_a_folder_comes_out_of_it(tmp_path: Path, root: str) -> None:
    top = tmp_path / "env"
    top.mkdir()
    archive = pack(
        make_prefix(tmp_path / "p", written=PLACEHOLDER), tmp_path / "p.tar.gz", root=root
    )
    found = prefix_at(archive, tmp_path / "notes")
    archive.rename(top / ".image")
    done = unpacked(top, found.digest)
    if root == "conda-meta":  # whatever that is
        assert (done.returncode, "packages of conda" in done.stderr) == (65, True)
        return
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in top.iterdir()) == [
        "about.json", "bin", "conda-meta", "etc", "share",
    ]  # fmt: skip
    assert f"cat {top}/share/words" in (top / "bin/tool").read_text()


def test_it_says_which_c_library_its_programs_need_of_a_machine(tmp_path: Path) -> None:
    prefix, top = make_prefix(tmp_path / "p", written=PLACEHOLDER), tmp_path / "env"
    top.mkdir()
    begin = b"\x7fELF" + bytes(14) + b"\x3e\0" + bytes(50)
    (prefix / "bin/program").write_bytes(begin + b"\0GLIBC_2.17\0GLIBC_2.38\0")
    (prefix / "x86_64/sysroot/lib").mkdir(parents=True)  # what a compiler links with
    (prefix / "x86_64/sysroot/lib/libc.so.6").write_bytes(begin + b"\0GLIBC_2.99\0")
    archive = pack(prefix, tmp_path / "p.tar.gz")
    found = prefix_at(archive, tmp_path / "notes")
    archive.rename(top / ".image")
    done = unpacked(top, found.digest)
    assert done.returncode == 0, done.stderr
    assert json.loads((top / "about.json").read_text())["needs_glibc"] == "2.38"


def test_a_folder_is_seen_where_it_was_as_well(tmp_path: Path) -> None:
    folder, top = make_prefix(tmp_path / "envs/lab"), tmp_path / "env"
    top.mkdir()
    found = prefix_at(folder, tmp_path / "notes")
    (top / ".image").write_bytes(b"".join(pieces_of(folder)))
    done = unpacked(top, found.digest, found.prefix)
    assert done.returncode == 0, done.stderr
    assert (top / "bin/again").readlink() == Path("tool"), "a link by a whole path into it"
    assert prefix_shown(top, str).options[3:] == ("--symlink", "/env", str(folder))


@pytest.mark.parametrize(
    "prefix", ["/usr/x", "/work/x", "/etc", "/a/../usr", "x", "/a\nb", "/a//b", "/" + "a/" * 900]
)
def test_a_place_that_a_sandbox_has_already_is_not_covered(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "about.json").write_text(json.dumps({"prefix": prefix}))
    with pytest.raises(EnvironmentUnknownError, match="cannot be shown"):
        prefix_shown(tmp_path, str)


def refused(tmp_path: Path, data: bytes, digest: str = "") -> str:
    import hashlib

    top = tmp_path / "env"
    top.mkdir()
    (top / ".image").write_bytes(data)
    done = unpacked(top, digest or f"sha256:{hashlib.sha256(data).hexdigest()}")
    assert done.returncode == 65, done.stderr
    return done.stderr


META = Item("conda-meta/a-1-0.json", b'{"name": "a", "version": "1"}')
HOSTILE = {
    "no environment": ([Item("a")], "no conda-meta in it"),
    "a folder that is a link": ([Item("lab", kind=S, to="/etc")], "no conda-meta in it"),
    "a lock of its own": ([Item("lab/.lock"), Item("lab/a")], "it has a file .lock"),
    "another system": (
        [Item("conda-meta/a.json", b'{"subdir": "osx-arm64"}')], "it is for osx-arm64"
    ),
    "no JSON": ([Item("conda-meta/a.json", b"{")], "the image is refused"),
    "deep JSON": ([Item("conda-meta/a.json", b'{"a":' * 100_000)], "the image is refused"),
    "a name that climbs": ([META, Item("../x")], "leads out"),
    "a name of a file outside": ([META, Item("x", kind=H, to="../../etc/passwd")], "leads out"),
    "notes that are a link": ([Item("conda-meta", kind=S, to="/etc")], "no conda-meta in it"),
    "an unpacker that fails": (
        [META, Item("bin/conda-unpack", b"raise SystemExit(3)")], "its conda-unpack ends with 3"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_or_for_another_machine_is_refused_in_words(
    tmp_path: Path, name: str
) -> None:
    items, why = HOSTILE[name]
    assert why in refused(tmp_path, gzip.compress(layer(*items)))


def test_other_bytes_than_the_lock_names_are_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, gzip.compress(layer(META)), "sha256:" + "0" * 64)
    assert "not what the lock names" in said


def test_links_that_lead_out_are_left_and_named(tmp_path: Path) -> None:
    import hashlib

    data = layer(META, Item("l", kind=S, to="/etc/passwd"), Item("d/m", kind=S, to="../../x"))
    (tmp_path / ".image").write_bytes(data)
    done = unpacked(tmp_path, f"sha256:{hashlib.sha256(data).hexdigest()}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a link leads out and is left") == 2
    assert not list(tmp_path.glob("l")) + list(tmp_path.glob("d/m"))


def test_scripts_of_activation_set_nothing_for_loaders(tmp_path: Path) -> None:
    import hashlib

    script = b"export LD_PRELOAD=/env/x.so A=1\nexport B=$'two\\nlines'\n"
    data = layer(META, Item("etc/conda/activate.d/a.sh", script))
    (tmp_path / ".image").write_bytes(data)
    done = unpacked(tmp_path, f"sha256:{hashlib.sha256(data).hexdigest()}")
    assert done.returncode == 0, done.stderr
    told = variables_of(tmp_path)
    assert (told["A"], "LD_PRELOAD" in told) == ("1", False)
