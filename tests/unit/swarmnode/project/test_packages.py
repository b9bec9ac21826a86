"""Which packages a project names, for which Python, and the lock that is made of that."""

import os
import tomllib
from pathlib import Path

import msgspec
import pytest

from swarmnode.cli.project.packages import _room_for
from swarmnode.errors import ProjectError
from swarmnode.project.environment.faults import words_for
from swarmnode.project.environment.find import NONE, Kind, choose, satisfies, source_of
from swarmnode.project.environment.indexes import Indexes, for_uv, is_private, pip_settings
from swarmnode.project.environment.lock import Lock, from_pylock, hashed, lock_of
from swarmnode.project.environment.origins import (
    LockOrigins,
    NamedPlaces,
    named_by_uv,
    named_in,
    origins_of,
    own_indexes,
)
from swarmnode.project.environment.weights import wheel_bytes
from tests.wheel_lab import make_wheel

OURS = (3, 11)


def found(root: Path, wish: str = "") -> tuple[Kind, str] | None:
    source = source_of(root, wish, OURS)
    return None if source is None else (source.kind, source.python)


def test_the_first_file_that_names_something_is_meant(tmp_path: Path) -> None:
    assert found(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "requirements.txt").write_text("# nothing yet\n\n")
    assert found(tmp_path) is None, "neither names anything"
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = ['six']\n")
    assert found(tmp_path) == (Kind.PYPROJECT, "3.11")
    (tmp_path / "requirements.txt").write_text("six\n")
    assert found(tmp_path) == (Kind.REQUIREMENTS, "3.11")
    (tmp_path / "pylock.toml").write_text("lock-version = '1.0'\nrequires-python = '>=3.12'\n")
    assert found(tmp_path) == (Kind.PYLOCK, "3.12")
    (tmp_path / "uv.lock").write_text("requires-python = '==3.10.*'\n")
    assert found(tmp_path) == (Kind.UV_LOCK, "3.10")
    assert found(tmp_path, "requirements.txt") == (Kind.REQUIREMENTS, "3.11")
    assert found(tmp_path, NONE) is None


def test_a_file_that_is_not_there_or_means_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.cfg").write_text("")
    with pytest.raises(ProjectError, match="no such file"):
        found(tmp_path, "dev.txt")
    with pytest.raises(ProjectError, match="none that an environment can be made from"):
        found(tmp_path, "train.cfg")


@pytest.mark.parametrize(
    ("wanted", "version", "holds"),
    [
        (">=3.9", (3, 11), True),
        (">=3.9,<3.11", (3, 11), False),
        ("<3.11.5", (3, 11), True),
        ("==3.11.*", (3, 11), True),
        ("==3.11.7", (3, 11), True),
        ("~=3.10", (3, 12), True),
        ("~=3.10.2", (3, 12), False),
        ("!=3.11.0", (3, 11), True),
        (">3.11", (3, 11), False),
        ("", (3, 14), True),
    ],
)
def test_specifiers_mean_what_pep_440_says(
    wanted: str, version: tuple[int, int], holds: bool
) -> None:
    assert satisfies(version, wanted) is holds


def test_ours_is_taken_where_it_fits_and_a_pinned_one_before_it(tmp_path: Path) -> None:
    assert choose(">=3.9", OURS, [(3, 9), (3, 12)]) == "3.11"
    assert choose(">=3.12", OURS, [(3, 9), (3, 12), (3, 13)]) == "3.12"
    with pytest.raises(ProjectError, match="no Python satisfies"):
        choose(">=4", OURS, [(3, 9)])
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / ".python-version").write_text("3.12.4\n")
    assert found(tmp_path) == (Kind.REQUIREMENTS, "3.12")
    (tmp_path / ".python-version").write_text("pypy3.10\n")
    with pytest.raises(ProjectError, match=r"pypy3\.10"):
        found(tmp_path)


def test_pips_settings_count_for_uv_which_reads_none_of_them(tmp_path: Path) -> None:
    system = (
        "[global]\nindex-url = https://mirror/simple\nextra_index_url =\n  https://a\n  https://b\n"
    )
    own = f"[install]\nfind-links = {tmp_path} /nowhere\n[global]\ntimeout = 5\n"
    pip = pip_settings([system, own], {"PIP_TIMEOUT": "9", "PATH": "/bin"})
    uv = for_uv(pip, {"UV_DEFAULT_INDEX": "https://mine/simple"}).variables
    assert uv["UV_DEFAULT_INDEX"] == "https://mine/simple", "what uv itself is told wins"
    assert uv["UV_INDEX"] == "https://a https://b"
    assert uv["UV_FIND_LINKS"] == str(tmp_path), "pip passes over what is not there, uv stops"
    assert uv["UV_HTTP_TIMEOUT"] == "9"


def test_what_is_no_public_index_is_private() -> None:
    assert not is_private("https://pypi.org/simple")
    assert not is_private("https://download.pytorch.org/whl/cpu")
    assert is_private("https://pypi.example.org/simple")
    assert is_private("/srv/wheels")
    assert is_private("file:///srv/simple")


def test_a_file_with_all_hashes_is_a_lock_already(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    line = f"six==1.0 \\\n    --hash=sha256:{'a' * 64}  # by hand\n"
    file.write_text(f"--index-url https://mirror\n# x\n{line}")
    assert hashed(file) == f"six==1.0 --hash=sha256:{'a' * 64}\n"
    file.write_text(f"{line}numpy\n")
    assert hashed(file) == ""
    file.write_text(f"{line}-r more.txt\n")
    assert hashed(file) == "", "what it includes may have none"


def test_where_packages_come_from_is_kept_with_the_lock(tmp_path: Path) -> None:
    (tmp_path / ".swarm").mkdir()
    line = f"six==1.0 --hash=sha256:{'a' * 64}\n"
    (tmp_path / "requirements.txt").write_text(line)
    for settings, private, online in (
        ({}, False, True),
        ({"index-url": "https://pypi.example.org/simple"}, True, True),
        ({"index-url": "file:///srv/simple"}, True, False),
    ):
        made = lock(tmp_path, for_uv(settings, {}), again=True)
        assert (made.text, made.is_private, made.is_online) == (line, private, online)
        assert lock(tmp_path, Indexes({})) == made


def test_what_comes_by_its_own_address_is_private_unless_the_host_is_known(tmp_path: Path) -> None:
    (tmp_path / ".swarm").mkdir()
    hashes = f"--hash=sha256:{'a' * 64}\n"
    url = "six @ https://me:hush@files.corp.example/six.whl"
    (tmp_path / "requirements.txt").write_text(f"{url} {hashes}numpy==1.0 {hashes}")
    assert lock(tmp_path, Indexes({})).is_private
    for host, private in (("files.pythonhosted.org", False), ("pypi.corp.example", True)):
        (tmp_path / "pylock.toml").write_text(PIPS_LOCK.format(host))  # which names no index
        made = lock(tmp_path, Indexes({}), again=True)
        assert (made.name, made.is_private, made.is_online) == ("pylock.toml", private, True)


PIPS_LOCK = """
lock-version = "1.0"
[[packages]]
name = "six"
version = "1.0"
[[packages.wheels]]
url = "https://{}/six.whl"
hashes = {{ sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }}
"""


@pytest.mark.parametrize("damaged", [b"", b"\xff\x00", b"six==1.0 --hash=sha256:"])
def test_a_kept_lock_that_is_damaged_is_made_again(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / ".swarm").mkdir()
    (tmp_path / "requirements.txt").write_text(f"six==1.0 --hash=sha256:{'a' * 64}\n")
    made = lock(tmp_path, Indexes({}))
    next((tmp_path / ".swarm").glob("environment-*.txt")).write_bytes(damaged)
    assert lock(tmp_path, Indexes({})) == made


def test_a_folder_of_packages_comes_on_top_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(f"six==1.0 --hash=sha256:{'a' * 64}\n")
    for wanted, settings in (
        (True, {"find-links": str(tmp_path)}),
        (False, {"find-links": str(tmp_path), "no-index": "1"}),
        (False, {"index-url": f"file://{tmp_path}"}),
        (True, {}),
    ):
        own = tmp_path / f"own-{len(list(tmp_path.iterdir()))}"
        own.mkdir()
        source = source_of(tmp_path, "", OURS)
        assert source is not None
        assert lock_of(source, own, for_uv(settings, {})).is_online is wanted, settings


def test_a_pylock_becomes_lines_with_its_hashes() -> None:
    wheel = {"name": "six.whl", "hashes": {"sha256": "b" * 64}}
    table = {
        "lock-version": "1.0",
        "packages": [
            {"name": "six", "version": "1.0", "marker": "os_name == 'posix'", "wheels": [wheel]},
            {"name": "mine", "directory": {"path": "."}},
        ],
    }
    text = from_pylock(table)
    assert text == f"six==1.0 ; os_name == 'posix' --hash=sha256:{'b' * 64}\n"
    table["packages"] = [{"name": "odd", "vcs": {"url": "git+https://x"}}]
    with pytest.raises(ProjectError, match="odd"):
        from_pylock(table)


@pytest.mark.parametrize(
    ("said", "helps"),
    [
        ("cause: failed to lookup address information", "index cannot be reached"),
        ("Because shapse was not found in the package registry", "spelt"),
        ("a==1 depends on b<2 ... your requirements are unsatisfiable", "loosen one"),
        ("x==1 has no usable wheels", "--allow-build"),
        ("hint: Wheels are required for `x` because building from source is disabled", "--allow-b"),
        ("HTTP status client error (401 Unauthorized)", "netrc"),
    ],
)
def test_what_uv_says_gets_the_line_that_helps(said: str, helps: str) -> None:
    assert helps in words_for(Path("requirements.txt"), said)


@pytest.fixture
def here(tmp_path: Path) -> tuple[Path, Indexes]:
    make_wheel(tmp_path / "wheels", "shapes", "1.0", {"shapes.py": "x = 1\n"})
    (tmp_path / ".swarm").mkdir()
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    (tmp_path / "more.txt").write_text("shapes\n")
    return tmp_path, for_uv({"find-links": str(tmp_path / "wheels"), "no-index": "1"}, {})


def lock(root: Path, indexes: Indexes, *, again: bool = False) -> Lock:
    source = source_of(root, "", OURS)
    assert source is not None
    return lock_of(source, root / ".swarm", indexes, again=again)


def test_a_lock_is_made_once_until_any_file_it_comes_from_changes(
    here: tuple[Path, Indexes],
) -> None:
    root, indexes = here
    first = lock(root, indexes)
    assert first.text.startswith("shapes==1.0 --hash=sha256:")
    assert (first.packages, first.is_private, first.python) == (1, True, "3.11")
    assert not first.is_online, "a folder of this machine has all of it"
    make_wheel(root / "wheels", "shapes", "2.0", {"shapes.py": "x = 2\n"})
    assert lock(root, indexes) == first, "a newer version changes nothing by itself"
    assert lock(root, indexes, again=True).text.startswith("shapes==2.0")
    (root / "more.txt").write_text("shapes<2\n")
    assert lock(root, indexes).text.startswith("shapes==1.0"), "an included file has changed"


@pytest.mark.parametrize("line", [".", ".[more]", "-e .", "./"])
def test_a_project_named_in_its_own_requirements_is_what_it_needs(
    here: tuple[Path, Indexes], line: str
) -> None:
    root, indexes = here
    build = '[build-system]\nrequires = []\n[project]\nname = "own"\nversion = "1"\n'
    extras = "optional-dependencies.more = []\n"
    (root / "pyproject.toml").write_text(f"{build}{extras}dependencies = []\n")
    (root / "requirements.txt").write_text(f"{line}\n")
    assert lock(root, indexes).packages == 0
    (root / "pyproject.toml").write_text(f'{build}{extras}dependencies = ["shapes"]\n')
    assert lock(root, indexes).text.startswith("shapes==1.0 --hash"), "what it needs has changed"


def test_a_lock_that_cannot_be_read_is_named_and_nothing_is_left_beside_one(
    tmp_path: Path,
) -> None:
    (tmp_path / ".swarm").mkdir()
    (tmp_path / "requirements.txt").write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    assert lock(tmp_path, Indexes({})).packages == 1
    (kept,) = (tmp_path / ".swarm").iterdir()
    kept.unlink()
    kept.mkdir()
    with pytest.raises(ProjectError, match=f"{kept.name} cannot be read.*: remove it"):
        lock(tmp_path, Indexes({}))


def test_the_same_name_with_other_bytes_is_another_lock(here: tuple[Path, Indexes]) -> None:
    root, indexes = here
    first = lock(root, indexes)
    make_wheel(root / "wheels", "shapes", "1.0", {"shapes.py": "x = 3\n"})
    os.utime(root / "wheels/shapes-1.0-py3-none-any.whl", (1, 1))
    assert lock(root, indexes, again=True).text != first.text


def test_what_packages_weigh_is_what_the_lock_says_of_their_largest_files(tmp_path: Path) -> None:
    (tmp_path / "here.whl").write_bytes(bytes(30))
    uv_lock = {
        "package": [
            {"name": "own", "source": {"virtual": "."}},
            {"name": "a", "wheels": [{"url": "https://x/a1.whl", "size": 500}, {"size": 700}]},
            {"name": "b", "wheels": [{"path": "here.whl"}], "sdist": {"size": 9000}},
            {"name": "c", "sdist": {"url": "https://x/c.tar.gz", "size": 11}},
        ]
    }
    assert wheel_bytes(uv_lock, tmp_path) == 700 + 30 + 11
    place = (tmp_path / "here.whl").as_uri()
    assert wheel_bytes({"packages": [{"name": "b", "wheels": [{"url": place}]}]}, tmp_path) == 30


@pytest.mark.parametrize(
    "file", [{"url": "https://x/a.whl"}, {"path": "gone.whl"}, {"size": -1}, {"size": "9"}]
)
def test_where_one_package_does_not_say_what_it_weighs_nobody_knows(
    tmp_path: Path, file: dict[str, object]
) -> None:
    packages = [{"name": "a", "wheels": [file]}, {"name": "b", "wheels": [{"size": 5}]}]
    assert wheel_bytes({"package": packages}, tmp_path) == 0


def test_a_build_asks_for_the_room_that_its_packages_take() -> None:
    lock = Lock("x==1\n", "3.11", "x86_64", allow_build=False, name="uv.lock")
    assert _room_for(lock) == "4G", "nothing is known of them"
    assert _room_for(msgspec.structs.replace(lock, wheel_bytes=70 << 20)) == "2G"
    assert _room_for(msgspec.structs.replace(lock, wheel_bytes=2700 << 20)) == "17G"
    assert _room_for(msgspec.structs.replace(lock, text="torch==2.1\n")) == "10G"


@pytest.mark.parametrize("line", ["./dist/own-1.0-py3-none-any.whl", "own @ {place}"])
def test_a_wheel_that_lies_in_the_project_is_no_package_and_is_not_dropped_without_a_word(
    tmp_path: Path, line: str
) -> None:
    wheel = make_wheel(tmp_path / "dist", "own", "1.0", {"own/__init__.py": ""})
    (tmp_path / "requirements.txt").write_text(line.format(place=wheel.as_uri()) + "\n")
    (tmp_path / ".swarm").mkdir()
    source = source_of(tmp_path, "", OURS)
    assert source is not None
    with pytest.raises(ProjectError, match=r"own-1.0-py3-none-any.whl is a file of this machine"):
        lock_of(source, tmp_path / ".swarm", for_uv({}, {"UV_NO_INDEX": "1"}))


TORCH = """
version = 1
requires-python = ">=3.11"
[[package]]
name = "six"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.pythonhosted.org/six.whl", hash = "sha256:HASH" }]
[[package]]
name = "torch"
version = "2.5.1+cpu"
source = { registry = "https://download.pytorch.org/whl/cpu" }
wheels = [{ url = "https://download-r2.pytorch.org/whl/cpu/torch.whl", hash = "sha256:HASH" }]
[[package]]
name = "torch"
version = "2.5.1+cu124"
source = { registry = "https://gpus.example.org:8443/simple" }
wheels = [{ url = "https://gpus.example.org:8443/torch.whl", hash = "sha256:HASH" }]
""".replace("HASH", "0" * 64)
EXPORTED = "six==1.0 \\\n    --hash=sha256:0\ntorch==2.5.1+cpu ; sys_platform == 'linux' \\\n"


@pytest.mark.parametrize(
    ("said", "lines", "net", "is_private"),
    [
        (EXPORTED, ["https://download.pytorch.org/whl/cpu"], ("pytorch",), False),
        ("six==1.0 \\\n", [], (), False),
        (
            "torch==2.5.1+cu124 \\\n",
            ["https://gpus.example.org:8443/simple"],
            ("gpus.example.org:8443",),
            True,
        ),
    ],
)
def test_an_index_that_the_project_names_goes_along_where_it_is_needed(
    said: str, lines: list[str], net: tuple[str, ...], is_private: bool
) -> None:
    named = named_in(tomllib.loads(TORCH), said)
    made = origins_of(named, said, Indexes({}), 0)
    assert own_indexes(named, Indexes({})) == lines
    assert (made.net, made.is_private) == (net, is_private)
    assert LockOrigins.read(made.line().strip()) == made


def test_what_settings_name_and_what_has_a_password_does_not_go_along() -> None:
    said = "a==1 \\\n    # from https://mirror.example/simple/\nb==1 \\\n    # from {}\n"
    settings = Indexes({"UV_DEFAULT_INDEX": "https://mirror.example/simple"})
    named = named_by_uv(said.format("https://me:hush@corp.example/simple"))
    assert own_indexes(named, settings) == []
    assert origins_of(named, said, settings, 0).net == ()
    named = named_by_uv(said.format("https://corp.example/simple"))
    assert own_indexes(named, settings) == ["https://corp.example/simple"]
    assert origins_of(named, said, settings, 0).net == ("corp.example",)


def test_a_package_by_its_address_has_its_host_asked_for() -> None:
    said = "six @ https://files.corp.example/six.whl --hash=sha256:0\n"
    assert origins_of(NamedPlaces(), said, Indexes({}), 0).net == ("files.corp.example",)
