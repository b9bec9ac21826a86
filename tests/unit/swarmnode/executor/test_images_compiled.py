"""Python's compiled modules in an image or prefix: what was good there is not compiled again."""

import encodings
import os
import platform
import py_compile
import struct
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from swarmnode.executor.environments.recipe.compiled import LAID_OUT_S
from swarmnode.executor.environments.store import EnvironmentStore
from swarmnode.project.images.conda import pieces_of
from swarmnode.tree.pack import packed
from swarmnode.tree.scan import entries_of, scan
from tests.conda_lab import make_prefix, pack
from tests.image_lab import Item, layer, programs, saved
from tests.job_lab import needs_bwrap, run_job, running_executor, spec
from tests.unit.swarmnode.executor.test_conda_unpacked import prefix_at
from tests.unit.swarmnode.executor.test_conda_unpacked import unpacked as prefix_unpacked
from tests.unit.swarmnode.executor.test_environments_built import once
from tests.unit.swarmnode.executor.test_images_unpacked import unpacked

MADE_S = 1_700_000_000
MODULE = b"told = 'source  '\n"
COMPILED = b"told = 'compiled'\n"
"""Of the same length: who is told this has not compiled the module again."""
Mode = py_compile.PycInvalidationMode


def compiled(folder: Path, mode: Mode = Mode.TIMESTAMP, time_s: int = MADE_S) -> bytes:
    folder.mkdir(exist_ok=True)
    source, made = folder / "of.py", folder / "of.pyc"
    source.write_bytes(COMPILED)
    os.utime(source, (time_s, time_s))
    py_compile.compile(str(source), str(made), invalidation_mode=mode)
    return made.read_bytes()


def before_3_7(data: bytes) -> bytes:
    """The head that CPython 3.3 to 3.6 had."""
    return data[:4] + data[8:]


def time_in(data: bytes, at: int = 8) -> int:
    found = struct.unpack_from("<I", data, at)[0]
    assert isinstance(found, int)
    return found


def test_modules_that_were_good_name_the_time_that_files_are_given(tmp_path: Path) -> None:
    good, old = compiled(tmp_path / "of"), compiled(tmp_path / "of", time_s=MADE_S - 9)
    by_hash = compiled(tmp_path / "of", Mode.CHECKED_HASH)
    sources = [Item(f"p/{name}.py", MODULE, time_s=MADE_S) for name in ("a", "old", "hash", "six")]
    cache = {
        "a.cpython-36": good, "a.cpython-36.opt-1": good, "old.cpython-36": old,
        "hash.cpython-36": by_hash, "six.cpython-36": before_3_7(good),
        "alone.cpython-36": good, "short.cpython-36": b"x",
    }  # fmt: skip
    files = [Item(f"p/__pycache__/{name}.pyc", data) for name, data in cache.items()]
    pax = {"mtime": f"{MADE_S}.75"}
    files += [Item("p/pax.py", MODULE, pax=pax), Item("p/__pycache__/pax.cpython-36.pyc", good)]
    files += [Item("p/later.py", MODULE), Item("p/short.py", MODULE), Item("p/later.pyc", old)]
    later = [Item("p/later.py", MODULE, time_s=MADE_S - 9)]
    top = tmp_path / "env"
    top.mkdir()
    done = unpacked(top, saved(top / ".image", [layer(*sources, *files), layer(*later)]))
    assert done.returncode == 0, done.stderr

    place = top / "root/p/__pycache__"
    found = {path.name.removesuffix(".pyc"): path.read_bytes() for path in place.iterdir()}
    kept = time_in(found["a.cpython-36"])
    assert kept not in (MADE_S, 0)
    assert time_in(found["a.cpython-36.opt-1"]) == time_in(found["pax.cpython-36"]) == kept
    assert time_in(found["six.cpython-36"], 4) == kept
    assert time_in((top / "root/p/later.pyc").read_bytes()) == kept, "its source came later"
    untouched = {"old": old, "hash": by_hash, "alone": good, "short": b"x"}
    for name, data in untouched.items():
        assert found[f"{name}.cpython-36"] == data, name
    assert found["a.cpython-36"][16:] == good[16:]


@pytest.mark.parametrize("is_packed", [True, False])
def test_those_of_conda_too(tmp_path: Path, is_packed: bool) -> None:
    prefix, top = make_prefix(tmp_path / "p"), tmp_path / "env"
    top.mkdir()
    (prefix / "lib").mkdir()
    (prefix / "lib/a.py").write_bytes(MODULE)
    os.utime(prefix / "lib/a.py", (MADE_S, MADE_S))
    (prefix / "lib/a.pyc").write_bytes(compiled(tmp_path / "of"))
    given = pack(prefix, tmp_path / "p.tar.gz") if is_packed else prefix
    found = prefix_at(given, tmp_path / "notes")
    (top / ".image").write_bytes(b"".join(pieces_of(given)))
    done = prefix_unpacked(top, found.digest, found.prefix)
    assert done.returncode == 0, done.stderr
    assert time_in((top / "lib/a.pyc").read_bytes()) not in (MADE_S, 0)


TELLS = """
import os, sys
sys.path.insert(0, "/opt")
import lab
os.utime("/opt/lab.py")
del sys.modules["lab"]
first = lab.told
import lab
print(first, lab.told)
"""


@needs_bwrap
@pytest.mark.skipif(
    os.path.realpath("/usr/bin/python3") != "/usr/bin/python{}.{}".format(*sys.version_info[:2]),
    reason="/usr/bin/python3 lacks or is of another version than the tests' own",
)
async def test_a_task_imports_what_was_compiled_until_it_changes_the_source(tmp_path: Path) -> None:
    top = tmp_path / "made"
    top.mkdir()
    version = platform.python_version_tuple()
    python = f"python{version[0]}.{version[1]}"
    modules = Path(encodings.__file__).parent
    items = [
        Item(f"usr/lib/{python}/encodings/{path.name}", path.read_bytes())
        for path in (modules / "__init__.py", modules / "aliases.py", modules / "utf_8.py")
    ]
    cache = f"opt/__pycache__/lab.cpython-{version[0]}{version[1]}.pyc"
    items += [Item("opt/lab.py", MODULE, time_s=MADE_S), Item(cache, compiled(tmp_path / "of"))]
    done = unpacked(top, saved(top / ".image", [layer(*programs("python3"), *items)]))
    assert done.returncode == 0, done.stderr
    found = scan(str(top)).found
    tree = b"".join(packed(str(top), found, entries_of(found, ())))
    async with running_executor(tmp_path / "x") as executor:
        await executor.bringing.bring("@one", blake3(tree).digest(), once(tree))
        job = spec("c.1", "python3", "-I", "-S", "-c", TELLS, environment="@one")
        ended, out, said = await run_job(executor, job)
        if "images can only be read here" in said:
            pytest.skip(said)
        assert (ended.code, out) == (0, "compiled source  \n"), said


def test_every_file_is_laid_out_with_one_time_whoever_had_it_before(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path / "s", 1 << 20)
    store.open()
    for name, time_s in (("a", 7), ("b", 8)):
        part = store.begin(name)
        (part / "of.py").write_bytes(MODULE)
        store.finish(name, ())
        path = store.use(name) / "of.py"
        assert path.stat().st_mtime == LAID_OUT_S
        os.utime(path, (time_s, time_s))  # as by a node of before
