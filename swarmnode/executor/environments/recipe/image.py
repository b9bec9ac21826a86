"""The command of an image's build: from /env/.image to the folder of a whole system in /env/root.

The lock names the image by the digest of its settings, and these name every layer: what comes out
is that image or nothing. Or it names an environment of conda: see prefix.py. Its exit code is 0, 65
for an image that is refused, 69 for the machine.
"""

import errno
import json
import os
import platform
import re
import shutil
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compiled  # type: ignore[import-not-found]
import oci  # type: ignore[import-not-found]
import unpack  # type: ignore[import-not-found]
from tarball import RefusedError, Tar  # type: ignore[import-not-found]

TOP = "/env"
NAMES_MAX = 99000
"""An object holds 100,000."""
TOP_MAX = 128
"""In the root: each is shown by a mount of its own."""
ENTRIES_MAX = 4 * NAMES_MAX
"""Of all layers: later ones take away what earlier ones have."""
BYTES_MAX = 64 << 30
BAD_IMAGE = 65
NO_MACHINE = 69
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_NOT_SHOWN = ("dev", "proc", "run", "sys", "tmp", "work")
"""Every task has its own."""
_OURS = ("passwd", "group", "hosts", "resolv.conf", "nsswitch.conf", "services")
"""Files of /etc that a sandbox may put its own on; a link there would lead that elsewhere."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_VALUE_MAX = 32768
_VARIABLES_MAX = 512
_VARIABLES_BYTES_MAX = 256 << 10
"""Each is an option of the sandbox, and all of them are handed to every program."""
_LINK_MAX = 4095
_OF_THE_IMAGE = {errno.ENAMETOOLONG, errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.EISDIR}
"""Whatever machine it is: another one would find the same."""
_NO_VARIABLES = {"HOME", "TMPDIR", "USER", "LOGNAME", "PWD", "HOSTNAME"}


def main(top: str = TOP) -> None:
    """Unpack, even, tell."""
    for name in os.listdir(top):
        if name not in (".lock", ".image"):  # of an attempt before
            _remove(os.path.join(top, name))
    with open(os.path.join(top, ".lock")) as file:
        kind, digest, *where = file.read().split(maxsplit=2)
    if kind == "conda":
        _lay_out_prefix(top, digest, where[0].rstrip("\n") if where else "")
    else:
        _lay_out_image(top, digest)


def _lay_out_prefix(top: str, digest: str, where: str) -> None:
    import prefix  # type: ignore[import-not-found]  # few are

    about = prefix.lay_out(top, digest, ENTRIES_MAX, BYTES_MAX)
    about["prefix"] = where
    os.unlink(os.path.join(top, ".lock"))
    _write_about(top, about, prefix.variables(top))
    _say("unpacked: %d names" % _counted(top))


def _lay_out_image(top: str, digest: str) -> None:
    root = os.path.join(top, "root")
    image = oci.plain_archive(os.path.join(top, ".image"), oci.Budget(BYTES_MAX))
    source = oci.ImageSource(image)
    settings, layers = oci.image_in(source, digest)
    machine = _MACHINES.get(str(settings.get("architecture")), str(settings.get("architecture")))
    if machine != platform.machine() or settings.get("os", "linux") != "linux":
        raise RefusedError("it is for %s, this machine is %s" % (machine, platform.machine()))
    os.mkdir(root, 0o755)
    _apply(root, source, layers)
    _remove(image)
    _remove(os.path.join(top, ".image"))
    os.unlink(os.path.join(top, ".lock"))
    about: "dict[str, object]" = {
        "python": "", "machine": machine, "glibc": "", "uv": "", "packages": [],
    }  # fmt: skip
    given = (settings.get("config") or {}).get("Env") or []
    _write_about(top, about, given if isinstance(given, list) else [])
    names = even(root)
    compiled.settle(os.fsencode(root))
    _say("unpacked: %d names in %d layers" % (names, len(layers)))


def _apply(root: str, source: "oci.ImageSource", layers: "list[tuple[str, str]]") -> None:
    names, size, dropped = [ENTRIES_MAX], oci.Budget(BYTES_MAX), 0
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for number, (name, digest) in enumerate(layers):
        _say("layer %d of %d" % (number + 1, len(layers)))
        plain = oci.Plain(source.opened(name), size)
        dropped += unpack.apply(folder, Tar(plain), names)
        plain.finish(digest)
    os.close(folder)
    if dropped:
        _say("dropped: %d names of devices and pipes, which no task is given" % dropped)


def even(root: str) -> int:
    """Links as an object may hold them, places for what sandboxes add; how many names there are."""
    for name in _NOT_SHOWN:
        _remove(os.path.join(root, name))
    etc = os.path.join(root, "etc")
    if not os.path.lexists(etc):
        os.mkdir(etc)
    if os.path.islink(etc) or not os.path.isdir(etc):
        raise RefusedError("/etc of the image is no folder")
    for name in _OURS:
        path = os.path.join(etc, name)
        if not os.path.lexists(path) or not stat.S_ISREG(os.lstat(path).st_mode):
            _remove(path)
            open(path, "x").close()
    if len(os.listdir(root)) > TOP_MAX:
        raise RefusedError("the image has more than %d names in its root" % TOP_MAX)
    for folder, folders, names in os.walk(os.fsencode(root)):
        for one in (*folders, *names):
            if os.path.islink(os.path.join(folder, one)):
                _relink(os.fsencode(root), folder, one)
    return _counted(root)


def _counted(root: str) -> int:
    """How many names there are, in folders that everybody may enter."""
    count = 0
    for folder, folders, names in os.walk(os.fsencode(root)):
        os.chmod(folder, 0o755)
        count += len(folders) + len(names)
    if count > NAMES_MAX:
        raise RefusedError("it has %d names, limit %d" % (count, NAMES_MAX))
    return count


def _relink(root: bytes, folder: bytes, name: bytes) -> None:
    """From where it stands, and never out: `..` only in front, and not beyond the root."""
    path = os.path.join(folder, name)
    target = os.readlink(path)
    above = [part for part in os.path.relpath(folder, root).split(b"/") if part != b"."]
    steps = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = 0
    while climbs < len(steps) and steps[climbs] == b"..":
        climbs += 1
    climbs, steps = min(climbs, len(above)), steps[climbs:]
    if target.startswith(b"/"):
        climbs = len(above)
    if b".." in steps:
        here = [] if target.startswith(b"/") else above[: len(above) - climbs]
        climbs, steps = len(above), _end_of(root, here, steps)
    made = b"/".join([b".."] * climbs + steps) or b"."
    if len(made) > _LINK_MAX:
        raise RefusedError("a link is too long: %r" % target[:200])
    if made != target:
        os.unlink(path)
        os.symlink(made, path)


def _end_of(root: bytes, here: "list[bytes]", steps: "list[bytes]") -> "list[bytes]":
    """Where they lead if root were all there is; a ring leads nowhere that is there."""
    here, todo, links = list(here), list(reversed(steps)), 0
    while todo:
        part = todo.pop()
        if part in (b"", b".", b".."):
            here = here[:-1] if part == b".." else here
            continue
        path = os.path.join(root, *here, part)
        if not os.path.islink(path):
            here.append(part)
            continue
        links += 1
        if links > 40:
            return [b"nowhere"]
        target = os.readlink(path)
        here = [] if target.startswith(b"/") else here
        todo += reversed(target.split(b"/"))
    return here


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _write_about(top: str, about: "dict[str, object]", given: "list[object]") -> None:
    variables = {}
    for text in given:
        name, _, value = str(text).partition("=")
        if name in _NO_VARIABLES:
            continue
        if _can_be_set(name, value):
            variables[name] = value
        else:
            _say("a variable of the image is not set: %r" % name[:80])
    size = sum(len(name) + len(value.encode()) for name, value in variables.items())
    if len(variables) > _VARIABLES_MAX or size > _VARIABLES_BYTES_MAX:
        raise RefusedError("it sets %d variables of %d bytes" % (len(variables), size))
    about["variables"] = variables
    path = os.path.join(top, "about.json")
    with open(path, "w") as file:
        json.dump(about, file, indent=1, sort_keys=True)
    os.chmod(path, 0o644)


def _can_be_set(name: str, value: str) -> bool:
    is_loaders = name.startswith("LD_") and name != "LD_LIBRARY_PATH"
    is_text = all(char.isprintable() or char in "\t\n" for char in value)
    return bool(_VARIABLE.match(name)) and not is_loaders and is_text and len(value) < _VALUE_MAX


def _say(text: str) -> None:
    print("swarm: " + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (
        RefusedError, ValueError, LookupError, TypeError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        _say("the image is refused: %s" % error)
        sys.exit(BAD_IMAGE)
    except OSError as error:
        if error.errno in _OF_THE_IMAGE:
            _say("the image is refused: %s" % error)
            sys.exit(BAD_IMAGE)
        _say("the image cannot be unpacked here: %s" % error)
        sys.exit(NO_MACHINE)
