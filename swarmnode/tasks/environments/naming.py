"""What environments, and what belongs to their builds, are called. Pure."""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

BUILT: Final = "@"
"""Before the id of an environment that was built for the pool, as a name of environments."""
BUILD: Final = "build:"
"""Before a version of CPython: a task that builds an environment around it."""
TREE: Final = "env"
"""The folder of a build's work folder that becomes the environment."""
LOCK: Final = "env/.lock"
"""Where a build finds its lock."""
RECORD: Final = "environment.record"
"""What a build leaves beside the folder: its record, signed by the machine that built."""
RECIPE_VERSION: Final = 4
"""Raised with every change of how environments are built that alters what comes out."""
RECIPE: Final = "/run/build/recipe"
PYTHON: Final = "/run/build/python"
UV: Final = "/run/build/uv"
ALLOW_BUILD: Final = "--allow-build"
COMMAND: Final = (PYTHON, "-I", "-B", f"{RECIPE}/build.py")
"""What a build runs; uv is its last word."""
IMAGE: Final = "image"
"""In the place of a version of CPython: a build unpacks an image."""
IMAGE_FILE: Final = "env/.image"
"""Where such a build finds the archive or layout; its lock names the image."""
IMAGE_COMMAND: Final = (PYTHON, "-I", "-B", f"{RECIPE}/image.py")
_RECIPES: Final = frozenset(((*COMMAND, UV), (*COMMAND, ALLOW_BUILD, UV), IMAGE_COMMAND))
_ID_BYTES: Final = 12
_KEY_SHOWN: Final = 12
"""So much of a key tells a build from all others, among those of one node."""
KEY_BYTES: Final = 32


def named_by_owner(names: Sequence[str]) -> tuple[str, ...]:
    """Of what a machine says it has, what its owner has named."""
    return tuple(name for name in names if not name.startswith((BUILT, BUILD)))


def name_of(cap: str) -> str:
    """By which machines speak of the environment with that capability."""
    return BUILT + blake2b(cap.encode(), digest_size=_ID_BYTES, person=b"swarm-env-id").hexdigest()


def is_recipe(run: Sequence[str], env: str) -> bool:
    """Whether that command in that environment is a build of ours, whose result may be signed."""
    is_image = env == f"{BUILD}{IMAGE}"
    return tuple(run) in _RECIPES and is_image == (tuple(run) == IMAGE_COMMAND)


def build_name(source: str, key: str) -> str:
    """Of the task that builds it, from which those who want it, too, know it; `key` in hex."""
    return f"environment of {source} {key[:_KEY_SHOWN]}"


def is_build_of(name: str, key: bytes) -> bool:
    """Whether a task of that name is to build the environment of that key."""
    return name.startswith("environment of ") and name.endswith(f" {key.hex()[:_KEY_SHOWN]}")


def image_lock(digest: str) -> str:
    """The lock of an image; `digest` is of its settings, which name every layer."""
    return f"image {digest}\n"


def is_image_lock(lock: bytes) -> bool:
    """Whether it is of an image: a whole system, not a folder of packages."""
    return lock.startswith(b"image ")


_PREFIX: Final = re.compile(r"(?:/[^/\x00-\x1f\x7f]{1,255})+")
_NO_PREFIX: Final = frozenset((
    "bin", "dev", "env", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys",
    "usr", "work",
))  # fmt: skip
"""What a sandbox has there already."""
_PREFIX_CHARS_MAX: Final = 1024


def can_be_prefix(path: str) -> bool:
    """Whether an environment of conda can be seen at that path, too."""
    parts = path.split("/")[1:]
    is_plain = _PREFIX.fullmatch(path) and ".." not in parts and "." not in parts
    is_text = path.isprintable()
    return (
        bool(is_plain) and is_text and len(path) <= _PREFIX_CHARS_MAX and parts[0] not in _NO_PREFIX
    )


def conda_lock(digest: str, prefix: str) -> str:
    """Of an environment of conda: the digest of its archive, and where it was, if it needs that."""
    return f"conda {digest} {prefix}\n" if prefix else f"conda {digest}\n"


def key_of(lock: bytes, python: str, machine: str, *, allow_build: bool) -> bytes:
    """Under which the environment is looked for that a build of these gives."""
    digest = blake2b(digest_size=KEY_BYTES, person=b"swarm-env-key")
    built = b"built" if allow_build else b"wheels"
    facts = (str(RECIPE_VERSION).encode(), python.encode(), machine.encode(), built, lock)
    for fact in facts:  # framed: no two of them can run together
        digest.update(len(fact).to_bytes(8, "big") + fact)
    return digest.digest()
