"""Locks: requirement lines with hashes, made once by uv and kept in the project's `.swarm/`."""

import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.environment.faults import no_requirement, words_for
from swarmnode.project.environment.find import Kind, NeedsFile
from swarmnode.project.environment.indexes import RESOLVING, Indexes
from swarmnode.project.environment.origins import (
    LockOrigins,
    NamedPlaces,
    lines_for,
    named_by_uv,
    named_in,
    origins_of,
    own_indexes,
)
from swarmnode.project.environment.stale import is_frozen, project_files, refuse_stale
from swarmnode.project.environment.texts import block_in, bytes_of, decoded, table_in, text_of
from swarmnode.project.environment.uv import said_by_uv
from swarmnode.project.environment.weights import wheel_bytes
from swarmnode.project.root import PROJECT_FILE

if TYPE_CHECKING:
    from swarmnode.project.images.conda import CondaPrefix
    from swarmnode.project.images.saved import SavedImage
    from swarmnode.project.registry.pull import RemoteImage

_PLATFORMS: Final = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
_HASH: Final = re.compile(r"--hash=sha(256|384|512):[0-9a-f]{64,}")
_LOCAL: Final = re.compile(r"^(-e\s|\.(?=[/\[\s;]|$)|/|[\w.-]+\s*@\s*file:)")
_LOCAL_FILE: Final = re.compile(
    r"^(?:[\w.\[\],-]+\s*@\s*)?((?:file:|\.{0,2}/)\S+\.(?:whl|zip|tar\.\w+|tgz))(?=\s|$)"
)
_INCLUDE: Final = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]+(\S+)", re.MULTILINE)
_ITSELF: Final = re.compile(r"^\s*(?:(?:-e|--editable)[\s=]+)?\.(?=[/\[\s;]|$)", re.MULTILINE)
_ITS_NEEDS: Final = ("pyproject.toml", "setup.cfg", "setup.py")
"""What says of a project that a requirements file names what that needs."""
_INCLUDES_MAX: Final = 64
_EXPORT: Final = ("export", "--frozen", "--no-editable", "--no-emit-local", "--no-annotate")


class Lock(msgspec.Struct, frozen=True):
    """Everything that an environment is made from."""

    text: str
    """Requirement lines; each names a version and the hashes of its files."""
    python: str
    machine: str
    """As uname has it: x86_64, aarch64."""
    allow_build: bool
    """NeedsFile distributions are built, in the sandbox."""
    name: str
    """The file it comes from, for people."""
    is_private: bool = False
    """Some of its packages may come from places that not everybody can read."""
    is_online: bool = True
    """Some of them are had over the network only."""
    image: "SavedImage | RemoteImage | CondaPrefix | None" = None
    """It is this, and no packages."""
    wheel_bytes: int = 0
    """Of its packages, packed, as the project's lock has it; 0: not known."""
    net: tuple[str, ...] = ()
    """What a build has to reach besides the public index, in words of `--net`."""
    doubt: str = ""
    """What could not be found out of it when it was made."""

    @property
    def packages(self) -> int:
        """How many there are."""
        return sum(bool(re.match(r"[A-Za-z0-9]", line)) for line in self.text.splitlines())


def lock_of(
    source: NeedsFile,
    own: Path,
    indexes: Indexes,
    *,
    allow_build: bool = False,
    again: bool = False,
    sandbox: Callable[[], Sequence[str]] = tuple,
) -> Lock:
    """The lock of a project's file; made again only when something it comes from has changed.

    `own` is the project's `.swarm/`; `sandbox` says which words begin a command that may run what
    somebody else wrote, as a builder with `allow_build`. Raises ProjectError with what helps.
    """
    machine = platform.machine()
    kept = own / f"environment-{_made_from(source, machine, allow_build=allow_build)}.txt"
    first, _, plain = ("" if again else _kept(kept)).partition("\n")
    origins, doubt = LockOrigins.read(first), ""
    if origins is None:  # damaged, or there is none
        doubt = _refuse_stale(source)
        words = _words_for(source, machine, indexes, allow_build=allow_build)
        within = sandbox() if allow_build and words and words[0] == "pip" else ()
        seen = indexes.for_builders(*RESOLVING) if within else indexes.variables
        said = _uv(source, words, seen, within) if words else _told(source)
        named, size = _named(source, said)
        origins = origins_of(named, said, indexes, size)
        plain = _cleaned(said) + lines_for(own_indexes(named, indexes))
        _keep(kept, origins.line() + plain)
    return Lock(
        plain,
        source.python,
        machine,
        allow_build,
        source.file.name,
        is_private=origins.is_private,
        is_online=origins.is_online,
        wheel_bytes=origins.wheel_bytes,
        net=origins.net,
        doubt=doubt,
    )


def _refuse_stale(source: NeedsFile) -> str:
    match source.kind:
        case Kind.UV_LOCK:
            return refuse_stale(source.file, source.file.with_name(PROJECT_FILE))
        case Kind.SCRIPT if (lock := _script_lock(source.file)).is_file():
            return refuse_stale(lock, source.file)
        case _:
            return ""


def _kept(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    except OSError as error:
        raise ProjectError(f"{file} cannot be read ({error}): remove it") from error


def _named(source: NeedsFile, said: str) -> tuple[NamedPlaces, int]:
    """Where the project says that its packages are, and how many bytes they have."""
    locked = _script_lock(source.file) if source.kind is Kind.SCRIPT else source.file
    if source.kind in (Kind.UV_LOCK, Kind.PYLOCK) or (locked != source.file and locked.is_file()):
        table = table_in(locked)
        return named_in(table, said), wheel_bytes(table, source.file.parent)
    return named_by_uv(said), 0


def _made_from(source: NeedsFile, machine: str, *, allow_build: bool) -> str:
    """Names all that decides what a resolution gives, but the indexes: hashes hold those."""
    digest = blake2b(digest_size=12)
    facts = ("lock 2", source.kind, source.python, machine, str(allow_build), *source.parts)
    for fact in (*map(str.encode, facts), *_bytes_of(source)):
        digest.update(len(fact).to_bytes(8, "big") + fact)
    return digest.hexdigest()


def _bytes_of(source: NeedsFile) -> Iterator[bytes]:
    """Of the file and of every one that it includes: a change in any of them counts."""
    match source.kind:
        case Kind.SCRIPT:  # the program around it may change
            yield block_in(source.file).encode()
            if (lock := _script_lock(source.file)).is_file():
                yield b"frozen" if is_frozen() else b""
                yield bytes_of(lock)
        case Kind.REQUIREMENTS:
            yield from _with_included(source.file)
        case Kind.UV_LOCK:
            yield b"frozen" if is_frozen() else b""  # what was not compared then, is now
            yield bytes_of(source.file)
            yield from map(bytes_of, project_files(source.file))
        case _:
            yield bytes_of(source.file)


def _with_included(first: Path) -> Iterator[bytes]:
    waiting, seen = [first], set[Path]()
    while waiting and len(seen) < _INCLUDES_MAX:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        yield (data := bytes_of(file))
        text = decoded(file.name, data)
        waiting += [file.parent / name for name in _INCLUDE.findall(text) if "://" not in name]
        own = [first.parent / name for name in _ITS_NEEDS if _ITSELF.search(text)]
        waiting += [path for path in own if path.is_file()]


def _script_lock(script: Path) -> Path:
    """As uv lock --script names it."""
    return script.with_name(f"{script.name}.lock")


def _told(source: NeedsFile) -> str:
    """By the file itself, where it has all hashes already; else empty."""
    if source.kind is Kind.PYLOCK:
        return from_pylock(table_in(source.file))
    return hashed(source.file) if source.kind is Kind.REQUIREMENTS else ""


def _words_for(
    source: NeedsFile, machine: str, indexes: Indexes, *, allow_build: bool
) -> list[str]:
    """What uv is asked to do; nothing where it need not be asked."""
    if source.kind is Kind.PYLOCK or _told(source):
        return []
    if source.kind is Kind.UV_LOCK:
        words = [*_EXPORT, *source.parts]
    elif source.kind is Kind.SCRIPT and _script_lock(source.file).is_file():
        words = [*_EXPORT, "--script", str(source.file)]
    else:
        words = ["pip", "compile", str(source.file), "--generate-hashes", "--no-annotate"]
        words += ["--emit-index-annotation", *source.parts]
        words += ["--no-config"] if source.kind is Kind.REQUIREMENTS else []
        words += ["--python-version", source.python]
        if machine not in _PLATFORMS:
            raise ProjectError(f"environments are built for {', '.join(_PLATFORMS)}, not {machine}")
        words += ["--python-platform", _PLATFORMS[machine]]
        words += [] if allow_build else ["--no-build"]
        words += ["--no-index"] if indexes.variables.get("UV_NO_INDEX") else []
    return [*words, "--no-header"]


def _uv(
    source: NeedsFile,
    words: Sequence[str],
    variables: Mapping[str, str],
    sandbox: Sequence[str],
) -> str:
    """What uv prints. Raises ProjectError with its words and what helps."""
    alone = {"UV_NO_CONFIG": "1"} if words[0] == "export" else {}
    done = said_by_uv(source.file, words, {**variables, **alone}, sandbox=sandbox)
    if not done.returncode:
        return done.stdout
    if source.kind is Kind.PYPROJECT and (wrong := _written_wrongly(source.file, variables)):
        raise ProjectError(wrong)
    raise ProjectError(words_for(source.file, done.stderr))


def _written_wrongly(file: Path, variables: Mapping[str, str]) -> str:
    """Of a pyproject.toml uv would have its builder say what is no requirement; empty: none is."""
    dependencies = table_in(file).get("project", {}).get("dependencies", ())
    wanted = "".join(f"{line}\n" for line in dependencies)
    done = said_by_uv(
        file,
        ["pip", "compile", "-", "--no-deps", "--no-build", "--offline"],
        variables,
        given=wanted,
    )
    return no_requirement(file, done.stderr)


def hashed(file: Path) -> str:
    """A requirements file in which everything has its hash already; empty when not so."""
    whole = re.sub(r"\s*\\\s*\n\s*", " ", text_of(file))
    lines = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in whole.splitlines()]
    wanted = [line for line in lines if line and not line.startswith("-")]
    options = [line for line in lines if line.startswith(("-r", "--req", "-c", "--con", "-e"))]
    is_whole = bool(wanted) and not options and all(_HASH.search(line) for line in wanted)
    return "\n".join(wanted) + "\n" if is_whole else ""


def from_pylock(table: Mapping[str, Any]) -> str:
    """PEP 751: the packages of a pylock.toml as requirement lines. Raises ProjectError."""
    packages = table.get("packages")
    if table.get("lock-version") != "1.0" or not isinstance(packages, list):
        raise ProjectError("pylock.toml: only lock-version 1.0 is understood")
    return "".join(_pylock_line(package) for package in packages)


def _pylock_line(package: Mapping[str, Any]) -> str:
    name, version = package.get("name"), package.get("version")
    files = [*(package.get("wheels") or ()), *filter(None, [package.get("sdist")])]
    hashes = sorted({str(file.get("hashes", {}).get("sha256", "")) for file in files} - {""})
    if "directory" in package:
        return ""  # the project's own folder, which goes along
    if not name or not version or not hashes:
        raise ProjectError(
            f"pylock.toml: {name or '?'} has no version with sha256 hashes of its files"
        )
    marker = f" ; {package['marker']}" if package.get("marker") else ""
    return " ".join([f"{name}=={version}{marker}", *(f"--hash=sha256:{one}" for one in hashes)]) + (
        "\n"
    )


def _cleaned(text: str) -> str:
    """Without what is only true on this machine: indexes, and folders that go along anyway."""
    whole = re.sub(r"\s*\\\s*\n\s*", " ", text)
    kept = [line.strip() for line in whole.splitlines()]
    if files := [found[1] for line in kept if (found := _LOCAL_FILE.match(line))]:
        raise ProjectError(
            f"{files[0]} is a file of this machine, and no index or folder of packages has it: put "
            "its folder into find-links (pip.conf) of the machines that build, and name the "
            "package with its version instead"
        )
    kept = [
        line
        for line in kept
        if line and not line.startswith(("#", "--")) and not _LOCAL.match(line)
    ]
    bare = [line.split()[0] for line in kept if not _HASH.search(line)]
    if bare:
        raise ProjectError(
            f"{', '.join(bare[:3])}: there is no hash for it, so nobody could check what is "
            "installed: name a version that an index has"
        )
    return "\n".join(kept) + "\n" if kept else "# nothing but Python itself\n"


def _keep(file: Path, text: str) -> None:
    """Written whole, also where two do so at once; the one that it takes the place of goes."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ProjectError(f"{file} cannot be written: {error.strerror}") from error
