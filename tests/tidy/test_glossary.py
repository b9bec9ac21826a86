"""Every noun of the glossary is carried by a type, and named once."""

import ast
import re

from tests.tidy.test_tidy import ROOT, SOURCES, tree_of

ROW = re.compile(r"^\| ([^|]+) \| [^|]+ \| (`[^|]+`) \|$")


def rows() -> list[tuple[str, list[str]]]:
    text = (ROOT / "docs" / "glossary.md").read_text()
    found = (ROW.match(line) for line in text.splitlines())
    return [(row[1].strip(), re.findall(r"`(\w+)`", row[2])) for row in found if row]


def types() -> set[str]:
    """Public classes, and names that stand for types."""
    found = set()
    for path in SOURCES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def test_every_noun_is_carried_by_a_type() -> None:
    known = types()
    assert [(noun, kind) for noun, kinds in rows() for kind in kinds if kind not in known] == []


def test_a_noun_has_one_line() -> None:
    nouns = [word.strip() for noun, _ in rows() for word in noun.split(",")]
    assert len(nouns) > 60
    assert sorted(word for word in nouns if nouns.count(word) > 1) == []
