"""One idea, one folder; one noun, one meaning: see docs/glossary.md and CONTRIBUTING.md."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

from tests.tidy.test_tidy import ROOT, SOURCES, tree_of

PACKAGES = ("p2p", "storage", "swarmnode")
MODULES_MAX = 16
ALIKE_MAX = 3
"""Files of one folder that begin alike: more of them are a folder that was not made."""


def folders() -> dict[Path, list[str]]:
    found = defaultdict(list)
    for path in SOURCES:
        if path.stem != "__init__":
            found[path.parent.relative_to(ROOT)].append(path.stem)
    return found


def test_no_folder_holds_more_than_one_can_take_in() -> None:
    full = {
        str(folder): len(names)
        for folder, names in folders().items()
        if folder.parts[0] in PACKAGES and len(names) > MODULES_MAX
    }
    assert not full


def test_no_prefix_stands_for_a_folder() -> None:
    alike = {
        f"{folder}/{prefix}_*": count
        for folder, names in folders().items()
        for prefix, count in Counter(name.split("_")[0] for name in names).items()
        if count > ALIKE_MAX
    }
    assert not alike


def test_a_public_class_name_is_defined_once() -> None:
    places = defaultdict(list)
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] in PACKAGES:
            for node in tree_of(path).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(ROOT)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_every_package_opens_with_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.stem == "__init__" and not ast.get_docstring(tree_of(path))
    ]
    assert not silent
