"""Every place that CONTRIBUTING.md and docs/flows.md lead to is there."""

import re

from tests.tidy.test_tidy import ROOT

PLACE = re.compile(r"`((?:\w[\w.-]*/)+[\w.-]*|\w+\.md)(?:: (\w+))?`")


def walks() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text().partition("## Three walks")[2]


def flows() -> str:
    return (ROOT / "docs/flows.md").read_text()


def places() -> list[tuple[str, str]]:
    return [(found[1], found[2] or "") for found in PLACE.finditer(walks() + flows())]


def test_there_are_three_walks_of_several_steps() -> None:
    assert len(PLACE.findall(walks())) > 30
    assert len(re.findall(r"^1\. ", walks(), re.MULTILINE)) == 3


def test_each_way_through_the_code_is_followed_within_six_files() -> None:
    ways = [way for way in flows().split("\n## ")[1:] if way.startswith(("A", "One"))]
    assert [len(re.findall(r"^1\. ", way, re.MULTILINE)) for way in ways] == [6, 6, 6, 6]


def test_every_file_and_folder_is_there() -> None:
    assert [path for path, _ in places() if not (ROOT / path).exists()] == []


def test_every_name_is_in_its_file() -> None:
    missing = [
        (path, name)
        for path, name in places()
        if name and not re.search(rf"\b{name}\b", (ROOT / path).read_text())
    ]
    assert missing == []
