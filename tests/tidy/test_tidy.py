"""The code base keeps its own shape: see CONTRIBUTING.md."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("p2p", "storage", "swarmnode", "testnet", "bench")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40
BLIND_SLEEPS = frozenset(
    {
        "swarmnode/executor/shim/process.py",
        "swarmnode/executor/kernel/cgroup.py",
        "swarmnode/demo/trainee.py",
        "swarmnode/sdk/ctx.py",
    }
)
"""The shim has no event loop: it polls its child and its groups. The others run inside a task."""
FENCES = frozenset(
    {
        "p2p/host/libp2p/gate.py",
        "p2p/host/libp2p/interop.py",
        "swarmnode/api/server/http1.py",
        "swarmnode/contained.py",
    }
)
"""Where anything may be raised by libp2p's handlers, by a route of the API, or under one job, and
must end one stream, request or job, not the node."""


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 50


def test_files_fit_in_one_reading() -> None:
    long = {str(p): n for p in SOURCES if (n := p.read_text().count("\n")) > FILE_LINES_MAX}
    assert not long


def test_functions_fit_on_one_screen() -> None:
    long = [
        f"{where(path, node)} {node.name}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


def test_every_module_says_what_it_is() -> None:
    assert not [str(path) for path in SOURCES if not ast.get_docstring(tree_of(path))]


def test_nothing_swallows_everything() -> None:
    broad = [
        where(path, node)
        for path in SOURCES
        if str(path.relative_to(ROOT)) not in FENCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and not isinstance(node.body[-1], ast.Raise)  # it cleans up, or says it in other words
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
        )
    ]
    assert not broad


@cache
def imports() -> tuple[tuple[str, str | None], ...]:
    """(where, module) of each; looked for once."""
    found: list[tuple[str, str | None]] = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                found += [(where(path, node), alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append((where(path, node), node.module))
    return tuple(found)


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "tarfile", "zipfile"])
def test_nothing_that_runs_or_unpacks_foreign_bytes_is_imported(module: str) -> None:
    assert not [place for place, name in imports() if name == module]


def test_nothing_sleeps_blindly() -> None:
    found = [
        where(path, node)
        for path in SOURCES
        if str(path.relative_to(ROOT)) not in BLIND_SLEEPS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    ]
    assert not found


def test_nothing_is_left_for_later_in_a_comment() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    found = [
        f"{path}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(word in line for word in words)
    ]
    assert not found


def test_what_the_program_needs_is_locked_where_it_is_installed_from() -> None:
    """The lock for tests has more: what only that has is missing for everybody else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=!~\[ ]", line)[0] for line in project["dependencies"]}
    for lock in ("requirements.lock", "requirements-dev.lock"):
        locked = set(re.findall(r"^([\w.-]+)(?:\[.*\])?==", (ROOT / lock).read_text(), re.M))
        assert not needed - locked, lock
