"""Every place that CONTRIBUTING.md and docs/flows.md lead to is there."""

import re

from tests.tidy.test_tidy import ROOT

PLACE = re.compile(r"`((?:\w[\w.-]*/)+[\w.-]*|\w+\.md)(?:: (\w+))?`")
STEP = re.compile(r"1\. `[\w/]+\.py: \w+`: ")


def walks() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text().partition("## Three walks")[2]


def flows() -> str:
    return (ROOT / "docs/flows.md").read_text()


def places() -> list[tuple[str, str]]:
    return [(found[1], found[2] or "") for found in PLACE.finditer(walks() + flows())]


def test_there_are_three_walks_of_several_steps() -> None:
    assert len(PLACE.findall(walks())) > 30
    assert len(re.findall(r"^1\. ", walks(), re.MULTILINE)) == 3


def ways() -> dict[str, str]:
    """Heading and words of each way."""
    parts = [part.partition("\n") for part in flows().split("\n## ")[1:]]
    return {head: rest for head, _, rest in parts if head.startswith(("A", "One"))}


def test_each_way_through_the_code_is_followed_within_six_files() -> None:
    files = {head: set(re.findall(r"[\w/.-]+\.py", head + way)) for head, way in ways().items()}
    assert {head: sorted(named) for head, named in files.items() if len(named) > 6} == {}
    assert len(ways()) == 4


def test_each_step_of_a_way_begins_with_its_file_and_a_name() -> None:
    steps = {head: re.findall(r"^1\. .*", way, re.MULTILINE) for head, way in ways().items()}
    assert [step for way in steps.values() for step in way if not STEP.match(step)] == []
    assert all(6 <= len(way) <= 8 for way in steps.values())


def test_every_file_and_folder_is_there() -> None:
    assert [path for path, _ in places() if not (ROOT / path).exists()] == []


def test_every_name_is_in_its_file() -> None:
    missing = [
        (path, name)
        for path, name in places()
        if name and not re.search(rf"\b{name}\b", (ROOT / path).read_text())
    ]
    assert missing == []
