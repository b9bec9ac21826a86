"""What the hub says of a file is told as huggingface_hub needs it."""

import pytest

from swarmnode.mirror.rules import hub

COMMIT, LARGE, SMALL = "0123456789" * 4, "a" * 64, "b" * 40


def test_a_large_file_is_what_the_first_answer_says() -> None:
    """Its store's own ETag and length are of the store."""
    first = {
        "x-repo-commit": COMMIT, "x-linked-etag": f'"{LARGE}"', "x-linked-size": "12",
        "etag": '"other"', "content-length": "1100", "location": "https://cdn/x",
        "x-xet-hash": "c" * 64,
    }  # fmt: skip
    file = hub.file_of([first])
    assert file is not None
    told = dict(file.headers())
    assert (told["x-repo-commit"], told["x-linked-size"]) == (COMMIT, "12")
    assert told["etag"] == told["x-linked-etag"] == f'"{LARGE}"'
    assert str(file.digest) == f"sha256-{LARGE}"


def test_nothing_leads_the_client_past_the_mirror() -> None:
    """Where it is told of another place or of the store of chunks it goes there (unsloth#1353)."""
    first = {
        "x-repo-commit": COMMIT, "x-linked-etag": LARGE, "x-linked-size": "12",
        "x-xet-hash": "c" * 64, "x-xet-refresh-route": "/api/x", "link": "<https://cas>",
        "location": "https://cdn/x",
    }  # fmt: skip
    file = hub.file_of([first])
    assert file is not None
    names = {name for name, _ in file.headers()}
    assert not names & {"location", "link", "x-xet-hash", "x-xet-refresh-route"}


def test_a_small_file_is_what_the_answer_behind_its_redirect_says() -> None:
    answers = [{"x-repo-commit": COMMIT}, {"etag": f'W/"{SMALL}"', "content-length": "7"}]
    file = hub.file_of(answers)
    assert file is not None
    assert (str(file.digest), file.size) == (f"git-{SMALL}", 7)


@pytest.mark.parametrize(
    "changes",
    [{"x-repo-commit": "main"}, {"x-repo-commit": ""}, {"x-linked-size": "-1"},
     {"x-linked-size": ""}, {"x-linked-etag": '"v1"'}, {"x-repo-commit": COMMIT + "\r\nx: 1"}],
)  # fmt: skip
def test_what_says_too_little_is_kept_under_no_name(changes: dict[str, str]) -> None:
    first = {"x-repo-commit": COMMIT, "x-linked-etag": LARGE, "x-linked-size": "12"}
    assert hub.file_of([{**first, **changes}]) is None


def test_the_next_page_of_a_list_is_the_mirrors() -> None:
    """Clients go where `Link` says (ramalama#2826)."""
    told = [
        ("link", '<https://huggingface.co/api/models/x/tree/main?cursor=c>; rel="next"'),
        ("location", "/api/resolve-cache/x"),
        ("set-cookie", "a=b"),
        ("content-type", "x"),
    ]
    assert hub.passed_down(told) == [
        ("link", '<http://hf.mirror.swarm/api/models/x/tree/main?cursor=c>; rel="next"'),
        ("location", "/api/resolve-cache/x"),
        ("content-type", "x"),
    ]
