"""Layers of images that somebody hostile made: nothing outside is touched, and it is said why."""

import gzip
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from swarmnode.errors import EnvironmentUnknownError
from swarmnode.executor.environments import building
from swarmnode.executor.environments.image import about_in, image_binds, variables_in
from swarmnode.tasks.environments.naming import image_lock
from swarmnode.tree.pack import packed
from swarmnode.tree.scan import entries_of, scan
from tests.image_lab import C, D, H, Item, P, S, layer, layout, saved, settings_of
from tests.job_lab import needs_bwrap, run_job, running_executor, spec
from tests.unit.swarmnode.executor.test_environments_built import once

RECIPE = Path(building.__file__).parent / "recipe/image.py"
BAD = b"owned"
Check = Callable[[Path], bool]


def unpacked(top: Path, digest: str) -> "subprocess.CompletedProcess[str]":
    (top / ".lock").write_text(image_lock(digest))
    command = [sys.executable, "-I", "-B", str(RECIPE), str(top)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def text(path: Path) -> str:
    return path.read_text()


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


REFUSED: dict[str, tuple[list[bytes], str]] = {
    "a name that climbs": ([layer(Item("../victim", BAD))], "leads out"),
    "a name for a file outside": ([layer(Item("h", kind=H, to="/victim"))], "name of no file"),
    "a name through a link": (
        [layer(Item("l", kind=S, to="/TOP"), Item("h", kind=H, to="l/victim"))],
        "no folder",
    ),
    "a name that climbs out": ([layer(Item("h", kind=H, to="../victim"))], "leads out"),
    "taking away what is above": ([layer(Item("d/.wh..."))], "takes away"),
    "taking away at the top": ([layer(Item(".wh..."))], "takes away"),
    "links in a ring": (
        [layer(Item("a", kind=S, to="b"), Item("b", kind=S, to="a"), Item("a/x", BAD))],
        "lead nowhere",
    ),
    "a file as a folder": ([layer(Item("a", b"1"), Item("a/b", BAD))], "is no folder"),
    "too deep": ([layer(Item("/".join("d" * 70)))], "too deep"),
    "too deep by a link": (
        [layer(Item("l", kind=S, to="/".join("d" * 40)), Item("l/" + "/".join("e" * 40)))],
        "too long or too deep",
    ),
    "too long by links": (
        [
            layer(
                Item("l", kind=S, to="/".join([200 * "d"] * 10)),
                Item(f"l/{'/'.join([200 * 'e'] * 10)}"),
            )
        ],
        "too long or too deep",
    ),
    "a link that grows too long": (
        [layer(Item(f"{'/'.join('d' * 50)}/l", kind=S, to="/" + "/".join(["x" * 250] * 16)))],
        "a link is too long",
    ),
    "/etc as a link": ([layer(Item("etc", kind=S, to="usr"), Item("usr", kind=D))], "no folder"),
    "two sizes": ([layer(Item("a", b"1" * 512, pax={"size": "0"}))], "CVE-2025-62518"),
    "two sizes of which one is large": (
        [layer(Item("a", b"1" * 512, pax={"size": str(8**11)}))],
        "CVE-2025-62518",
    ),
    "a file with holes": ([layer(Item("a", b"1", pax={"GNU.sparse.map": "0,1"}))], "holes"),
    "cut off": ([layer(Item("a", b"1" * 5000))[:2000]], "ends early"),
    "more behind the end": (
        [layer(Item("a"))[:1024].ljust(1024, b"\0")[:512] + bytes(512) + b"x" * 512],
        "follow the end",
    ),
    "too wide": ([layer(*(Item(f"d{number}/f") for number in range(129)))], "names in its root"),
    "damaged": ([b"\1" * 1024], "number that is none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_image_is_refused_and_nothing_outside_is_touched(
    tmp_path: Path, name: str
) -> None:
    layers, why = REFUSED[name]
    victim, top = tmp_path / "victim", tmp_path / "deep/env"
    top.mkdir(parents=True)
    victim.write_text("mine")
    done = unpacked(top, saved(top / ".image", layers))
    assert (done.returncode, why in done.stderr) == (65, True), done.stderr
    assert "the image is refused: " in done.stderr
    assert (text(victim), victim.stat().st_nlink, names(tmp_path)) == (
        "mine",
        1,
        ["deep", "victim"],
    )


CONTAINED: dict[str, tuple[list[bytes], Check]] = {
    "an absolute name": ([layer(Item("/abs/a", b"1"))], lambda r: text(r / "abs/a") == "1"),
    "writing through a link": (
        [layer(Item("l", kind=S, to="/tops"), Item("l/victim", BAD))],
        lambda r: text(r / "tops/victim") == "owned",
    ),
    "writing through a link that climbs": (
        [layer(Item("l", kind=S, to="../../../.."), Item("l/victim", BAD))],
        lambda r: text(r / "victim") == "owned",
    ),
    "a file over a link": (
        [layer(Item("l", kind=S, to="../../../victim")), layer(Item("l", BAD))],
        lambda r: not (r / "l").is_symlink() and text(r / "l") == "owned",
    ),
    "a name of a link, then a file": (
        [layer(Item("l", kind=S, to="../../../victim"), Item("h", kind=H, to="l"), Item("h", BAD))],
        lambda r: not (r / "h").is_symlink(),
    ),
    "taking away through a link": (
        [layer(Item("l", kind=S, to="../../..")), layer(Item("l/.wh.victim"))],
        lambda r: True,
    ),
    "emptying through a link": (
        [layer(Item("l", kind=S, to="../../..")), layer(Item("l/.wh..wh..opq"))],
        lambda r: True,
    ),
    "devices, pipes, set-user-id": (
        [layer(Item("n", kind=C), Item("p", kind=P), Item("su", b"1", mode=0o6755))],
        lambda r: names(r) == ["etc", "su"] and (r / "su").stat().st_mode & 0o7777 == 0o755,
    ),
    "more names of a device, and a file in the place of one": (
        [
            layer(
                Item("d/n", kind=C), Item("d/m", kind=H, to="./d/n"), Item("d/k", kind=H, to="d/m"),
                Item("x", kind=C), Item("x", b"1"), Item("y", kind=H, to="x"),
            )
        ],
        lambda r: names(r) == ["etc", "x", "y"] and text(r / "y") == "1",
    ),
    "opaque before and after what is new": (
        [
            layer(Item("o/old", b"1"), Item("o/s/old")),
            layer(Item("o/new", b"2"), Item("o/.wh..wh..opq"), Item("o/s/n2")),
        ],
        lambda r: names(r / "o") == ["new", "s"] and names(r / "o/s") == ["n2"],
    ),
    "taken away and put there by one layer": (
        [layer(Item("a", b"1")), layer(Item("a", b"2"), Item(".wh.a"))],
        lambda r: text(r / "a") == "2",
    ),
    "taken away by an entry that is a name": (
        [layer(Item("a", b"1"), Item("b", b"1")), layer(Item(".wh.a", kind=H, to="b"))],
        lambda r: names(r) == ["b", "etc"],
    ),
    "one of two names taken away": (
        [layer(Item("a", b"1"), Item("z", kind=H, to="a")), layer(Item(".wh.a"))],
        lambda r: text(r / "z") == "1",
    ),
    "a name of a file below, then replaced": (
        [layer(Item("a", b"1")), layer(Item("b", kind=H, to="a")), layer(Item("a", b"2"))],
        lambda r: (text(r / "a"), text(r / "b")) == ("2", "1"),
    ),
    "folder over link, file over folder": (
        [
            layer(Item("x", kind=S, to="/etc"), Item("y", kind=D), Item("y/f")),
            layer(Item("x", kind=D), Item("y", b"f")),
        ],
        lambda r: (r / "x").is_dir() and not (r / "x").is_symlink() and (r / "y").is_file(),
    ),
    "taking away what is not there": (
        [layer(Item("no/such/.wh.x"), Item("nor/this/.wh..wh..opq"), Item("f"), Item("f/.wh.g"))],
        lambda r: names(r) == ["etc", "f"],
    ),
    "a folder taken away behind what is new in it": (
        [
            layer(Item("d/old", b"1"), Item("d/s/old", b"1")),
            layer(Item("d/new", b"2"), Item("d/s/n2"), Item(".wh.d")),
        ],
        lambda r: names(r / "d") == ["new", "s"] and names(r / "d/s") == ["n2"],
    ),
    "a folder taken away, and then what was in it": (
        [layer(Item("d/f", b"1")), layer(Item(".wh.d"), Item("d/.wh.f"))],
        lambda r: names(r) == ["etc"],
    ),
    "a name of a file in a folder that has no entry": (
        [layer(Item("a", b"1"), Item("no/such/b", kind=H, to="a"))],
        lambda r: text(r / "no/such/b") == "1",
    ),
    "a merged /usr": (
        [layer(Item("usr/bin", kind=D), Item("bin", kind=S, to="/usr/bin")), layer(Item("bin/x"))],
        lambda r: (r / "usr/bin/x").exists() and os.readlink(r / "bin") == "usr/bin",
    ),
    "a closed folder": (
        [layer(Item("d", kind=D, mode=0), Item("d/f", b"1"))], lambda r: text(r / "d/f") == "1"
    ),
    "links that lead out": (
        [layer(Item("a/b/l", kind=S, to="../../../../x"), Item("a/m", kind=S, to="b/../../../y"),
               Item("a/n", kind=S, to="/z/w"))],
        lambda r: [os.readlink(r / one) for one in ("a/b/l", "a/m", "a/n")]
        == ["../../x", "../y", "../z/w"],
    ),
    "links in /etc where ours go": (
        [layer(Item("etc/passwd", kind=S, to="/victim"), Item("etc/hosts", kind=D))],
        lambda r: (r / "etc/passwd").is_file() and not (r / "etc/passwd").is_symlink()
        and (r / "etc/hosts").is_file(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINED)
def test_what_a_layer_does_stays_inside_its_root(tmp_path: Path, name: str) -> None:
    layers, holds = CONTAINED[name]
    victim, top = tmp_path / "victim", tmp_path / "deep/env"
    top.mkdir(parents=True)
    victim.write_text("mine")
    done = unpacked(top, saved(top / ".image", layers))
    assert done.returncode == 0, done.stderr
    assert holds(top / "root")
    assert (text(victim), victim.stat().st_nlink, names(tmp_path)) == (
        "mine",
        1,
        ["deep", "victim"],
    )
    assert names(top) == ["about.json", "root"]


def test_a_layout_with_packed_layers_gives_the_same(tmp_path: Path) -> None:
    layers = [layer(Item("a/b", b"1")), layer(Item("a/c", b"2"))]
    for is_packed in (True, False):
        top = tmp_path / str(is_packed)
        top.mkdir()
        done = unpacked(top, layout(top / ".image", layers, packed=is_packed))
        assert done.returncode == 0, done.stderr
        assert (text(top / "root/a/b"), text(top / "root/a/c")) == ("1", "2")


def test_layers_that_are_links_in_the_archive_are_found(tmp_path: Path) -> None:
    """As older docker and skopeo write a layer that an image has twice."""
    one = layer(Item("a", b"1"))
    digest = saved(tmp_path / "whole", [one, one])
    with tarfile.open(tmp_path / "whole") as whole, tarfile.open(tmp_path / ".image", "w") as tar:
        for member in whole:
            if member.name == "1/layer.tar":
                member.type, member.linkname, member.size = S, "../0/layer.tar", 0
                tar.addfile(member)
            else:
                tar.addfile(member, whole.extractfile(member))
    (tmp_path / "whole").unlink()
    assert unpacked(tmp_path, digest).returncode == 0


def test_another_image_or_layer_than_was_named_is_refused(tmp_path: Path) -> None:
    one, other = layer(Item("a", b"1")), layer(Item("a", b"2"))
    saved(tmp_path / ".image", [other], settings_of([one]))
    done = unpacked(tmp_path, "sha256:" + "0" * 64)
    assert (done.returncode, "is not in it" in done.stderr) == (65, True), done.stderr
    digest = saved(tmp_path / ".image", [other], settings_of([one]))
    done = unpacked(tmp_path, digest)
    assert (done.returncode, "not what the image names" in done.stderr) == (65, True), done.stderr
    digest = saved(tmp_path / ".image", [one], settings_of([one], machine="s390x"))
    done = unpacked(tmp_path, digest)
    assert (done.returncode, "it is for s390x" in done.stderr) == (65, True), done.stderr


def test_a_root_that_no_build_of_ours_made_is_not_shown(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc").symlink_to("/etc")
    with pytest.raises(EnvironmentUnknownError, match="root/etc is not as built"):
        image_binds(root, ("--bind", "/base"))
    (root / "etc").unlink()
    (root / "etc").mkdir()
    for name in ("passwd", "group", "hosts", "resolv.conf", "nsswitch.conf", "services"):
        (root / "etc" / name).touch()
    (root / "start.sh").touch()
    (root / "env").mkdir()
    for name, target in (("bin", "usr/bin"), ("run", "/run"), ("x", "/root"), ("y", "usr/../../z")):
        (root / name).symlink_to(target)
    binds = image_binds(root, ("--bind", "/base"))
    assert [binds[at + 2] for at in range(0, len(binds), 3)] == [
        "/env", "/etc", "/start.sh", "/usr", "/bin",
    ]  # fmt: skip
    (root / "data").mkdir()
    assert image_binds(root, ("--bind", "/base"), ["/data", "/sets/a"]) == binds, (
        "a dataset is there instead"
    )
    for place in ("/data/x", "/x/y"):
        with pytest.raises(EnvironmentUnknownError, match="of its own: show data at another"):
            image_binds(root, ("--bind", "/base"), [place])
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(EnvironmentUnknownError, match="etc/passwd"):
        image_binds(root, ("--bind", "/base"))


@needs_bwrap
async def test_a_task_in_an_image_that_cannot_be_shown_leaves_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "root/usr").mkdir(parents=True)
    (made / "root/etc").symlink_to("usr")
    found = scan(str(made)).found
    tree = b"".join(packed(str(made), found, entries_of(found, ())))
    async with running_executor(tmp_path / "x") as executor:
        await executor.bringing.bring("@bad", blake3(tree).digest(), once(tree))
        with pytest.raises(EnvironmentUnknownError, match="root/etc is not as built"):
            await run_job(executor, spec("u.1", "true", environment="@bad"))
        assert not list((tmp_path / "x/jobs").glob("*/record.json"))


def test_an_image_sets_variables_but_none_of_the_loaders(tmp_path: Path) -> None:
    env = ["PATH=/opt/x/bin:/bin", "A=b=c", "LD_PRELOAD=/x.so", "HOME=/root", "bad name=1", "Z=\n",
           "D=$(date)`x`\\", "Y=\0"]  # fmt: skip
    layers = [layer(Item("a"))]
    digest = saved(tmp_path / ".image", layers, settings_of(layers, env))
    assert unpacked(tmp_path, digest).returncode == 0
    assert variables_in(about_in(tmp_path)) == (
        ("A", "b=c"), ("D", "$(date)`x`\\"), ("PATH", "/opt/x/bin:/bin"), ("Z", "\n"),
    )  # fmt: skip


def test_settings_that_no_program_could_start_with_are_refused(tmp_path: Path) -> None:
    layers = [layer(Item("a"))]
    for env in (
        [f"V{number}=1" for number in range(600)],
        [f"V{n}={'x' * 30000}" for n in range(9)],
    ):
        digest = saved(tmp_path / ".image", layers, settings_of(layers, env))
        done = unpacked(tmp_path, digest)
        assert (done.returncode, "it sets " in done.stderr) == (65, True), done.stderr
    variables = {f"V{number}": "1" for number in range(600)}
    (tmp_path / "about.json").write_text(json.dumps({"variables": variables}))
    with pytest.raises(EnvironmentUnknownError, match="too many variables"):
        variables_in(about_in(tmp_path))


def test_documents_that_would_end_a_reader_are_refused(tmp_path: Path) -> None:
    deep = b'{"config":' * 100_000
    done = unpacked(tmp_path, saved(tmp_path / ".image", [], deep))
    assert (done.returncode, "the image is refused" in done.stderr) == (65, True), done.stderr
    one = layer(Item("a"))
    digest = saved(tmp_path / ".image", [one])
    archive = bytearray((tmp_path / ".image").read_bytes())
    archive[124:136] = b"\x80" + b"\xff" * 11  # a size that no place is behind
    archive[148:156] = b"%06o\0 " % (sum(archive[:148]) + 8 * 32 + sum(archive[156:512]))
    (tmp_path / ".image").write_bytes(archive)
    done = unpacked(tmp_path, digest)
    assert (done.returncode, "number that none can be" in done.stderr) == (65, True), done.stderr


def test_an_archive_that_is_packed_as_a_whole_gives_the_same(tmp_path: Path) -> None:
    digest = saved(tmp_path / "plain", [layer(Item("a", b"1"))])
    (tmp_path / ".image").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    (tmp_path / "plain").unlink()
    done = unpacked(tmp_path, digest)
    assert done.returncode == 0, done.stderr
    assert (text(tmp_path / "root/a"), names(tmp_path)) == ("1", ["about.json", "root"])


def test_damaged_words_before_an_entry_are_refused(tmp_path: Path) -> None:
    for number, words in enumerate(
        (b"5 a=\n0 a=\n", b"5 a=\nxx", b"5 a=\n99 a=\n", b"5 a=\n2 a=\n", b"3 \n")
    ):
        head = bytearray(layer(Item("x", words))[:512])
        head[156:157] = b"x"
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        one = bytes(head) + words + bytes(-len(words) % 512) + layer(Item("f", b"1"))
        top = tmp_path / str(number)
        top.mkdir()
        done = unpacked(top, saved(top / ".image", [one]))
        assert (done.returncode, "damaged" in done.stderr) == (65, True), done.stderr
