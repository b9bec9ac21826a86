"""Documents say what the code says: a message, key or metric that is missing fails here."""

import inspect
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import p2p
import storage
import swarmnode
from p2p.wire.codec import Message, number_of
from swarmnode.api.metrics import render
from swarmnode.boot import exit_codes
from swarmnode.home.config import SECTIONS, EnvSection
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.spec_load import every_key
from tests.api_lab import FakeNode
from tests.tidy.test_tidy import ROOT, SOURCES

DOCS = ROOT / "docs"


def messages() -> list[type[Message]]:
    """Every message of the three packages, by number."""
    for package in (p2p, storage, swarmnode):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("messages") or module.name == "p2p.host.rpc.echo":
                import_module(module.name)
    kinds = (kind for kind in Message.__subclasses__() if not kind.__module__.startswith("test"))
    return sorted(kinds, key=number_of)


def row_of(kind: type[Message]) -> str:
    """Its line in docs/protocol.md."""
    said = (inspect.getdoc(kind) or "").partition("\n\n")[0]
    return f"| {number_of(kind)} | {kind.__name__} | {' '.join(said.split())} |"


def test_every_message_has_its_line_in_the_protocol() -> None:
    text = (DOCS / "protocol.md").read_text()
    table = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert table == [row_of(kind) for kind in messages()]


def test_every_message_says_who_may_send_it() -> None:
    text = (DOCS / "protocol.md").read_text().partition("## Who may")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    named = {name.strip() for row in rows for name in row.split(",")}
    assert sorted({kind.__name__ for kind in messages()} - named) == []


def test_every_purpose_that_something_is_signed_for_is_in_the_protocol() -> None:
    text = (DOCS / "protocol.md").read_text().partition("## Signed records")[2]
    purposes = {
        purpose
        for path in SOURCES
        for purpose in re.findall(r'^\w*DOMAIN\b.* = "([^"]+)"$', path.read_text(), re.MULTILINE)
    }
    assert "swarm/lab" in purposes
    assert sorted(one for one in purposes if f"`{one}" not in text) == []


def keys() -> Iterator[str]:
    for section, kind in SECTIONS.items():
        yield from (f"{section}.{spec.name}" for spec in fields(kind))
    yield from (f"env.NAME.{spec.name}" for spec in fields(EnvSection))


def test_every_configuration_key_is_described() -> None:
    text = (DOCS / "operations.md").read_text()
    assert [key for key in keys() if f"`{key}`" not in text] == []


def told(default: object) -> str:
    """A default as the table says it."""
    match default:
        case bool():
            return str(default).lower()
        case "" | ():
            return "none" if default == () else "empty"
        case tuple():
            return ", ".join(default)
    return str(default)


def test_every_default_of_the_configuration_is_as_described() -> None:
    text = (DOCS / "operations.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.*?) \|", text, re.MULTILINE))
    defaults = {
        f"{section}.{spec.name}": told(getattr(kind(), spec.name))
        for section, kind in SECTIONS.items()
        for spec in fields(kind)
    }
    said = {key: rows[key].replace("`", "") for key in defaults}
    assert said == defaults


def test_every_metric_is_described() -> None:
    text = (DOCS / "operations.md").read_text()
    names = re.findall(r"^# HELP (\S+)", render(FakeNode().status()).decode(), re.MULTILINE)
    known = [name for name in names if not name.startswith("swarm_re_auctions")]
    assert [name for name in known if f"`{name}" not in text] == []


def test_every_exit_code_is_described() -> None:
    text = (DOCS / "operations.md").read_text()
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}
    assert [code for code in sorted(codes) if f"| {code} |" not in text] == []


def test_every_key_of_a_task_is_described() -> None:
    text = (DOCS / "tasks.md").read_text()
    assert [key for key in every_key(TaskSpec(())) if f"`{key}`" not in text] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted(DOCS.rglob("*.md")), ids=str)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"\b(?:docs|testnet|bench|swarmnode|p2p|storage)/[\w./-]+\.\w+", path.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_modules_that_the_protocol_names_beside_another_lie_beside_it() -> None:
    missing = []
    text = (DOCS / "protocol.md").read_text().partition("## Who may")[2]
    for row in text.splitlines():
        beside = [(ROOT / path).parent for path in re.findall(r"\b[\w/]+/\w+\.py\b", row)]
        alone = re.findall(r"(?<![\w/])\w+\.py\b", row)
        missing += [name for name in alone if not any((at / name).exists() for at in beside)]
    assert missing == []


def arrows() -> str:
    """The layers of every contract, as ARCHITECTURE.md has them."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return " ".join(
        f"{' '.join(one.get('containers', ['all']))}: {' -> '.join(one['layers'])}"
        for one in linter["contracts"]
        if one["type"] == "layers"
    )


def test_the_arrows_of_the_architecture_are_the_contracts() -> None:
    block = (ROOT / "ARCHITECTURE.md").read_text().split("```")[1]
    assert " ".join(block.split()) == arrows()
