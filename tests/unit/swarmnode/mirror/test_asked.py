"""What is asked of a mirror is read narrowly, and what is odd is refused in words."""

import pytest

from swarmnode.mirror.errors import AskRefusedError
from swarmnode.mirror.rules import asked

SUM, BESIDE = "a" * 64, "b" * 64
FILE = f"/files/{SUM}/{BESIDE}/files.pythonhosted.org/packages/ab/x-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    "target", ["/simple/My_Own.Pkg/", "/simple/my-own-pkg", "/simple/MY.own_pkg/"]
)
def test_a_project_has_one_name(target: str) -> None:
    assert asked.pypi(target) == asked.IndexAsk("my-own-pkg")


def test_a_file_is_named_by_its_digest_and_its_metadata_by_theirs() -> None:
    path = "/packages/ab/x-1.0-py3-none-any.whl"
    whole, metadata = asked.pypi(FILE), asked.pypi(f"{FILE}.metadata")
    assert isinstance(whole, asked.IndexFileAsk)
    assert isinstance(metadata, asked.IndexFileAsk)
    assert (str(whole.digest), whole.host, whole.path) == (
        f"sha256-{SUM}", "files.pythonhosted.org", path,
    )  # fmt: skip
    assert (str(metadata.digest), metadata.path) == (f"sha256-{BESIDE}", f"{path}.metadata")


@pytest.mark.parametrize(
    "target",
    [
        "/", "/simple/", "/simple/a/b/", "/simple/..%2f..%2fx/", "/simple/a%0d%0aX:1/", "*",
        "/simple/-a/", "/pypi/a/json", FILE.replace(SUM, "a" * 63), FILE.replace(SUM, "-"),
        FILE.replace("packages/ab", "packages/%2e%2e"), FILE.replace("ab/", "../"),
        FILE.replace("ab/", "%252e%252e/"), FILE.replace("files.pythonhosted.org", "10.0.0.1"),
        FILE.replace("files.pythonhosted.org", "evil.org"), FILE + "x" * 1000,
        FILE.replace(BESIDE, "-") + ".metadata", FILE.replace("ab/", "a%00b/"),
        FILE.replace("files.pythonhosted.org", "files.pythonhosted.org:22"),
    ],
)  # fmt: skip
def test_what_no_index_names_is_refused(target: str) -> None:
    with pytest.raises(AskRefusedError):
        asked.pypi(target)


COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("target", "is_pinned"),
    [
        ("/gpt2/resolve/main/config.json", False),
        (f"/o/n/resolve/{COMMIT}/a/b.safetensors?download=true", True),
        ("/datasets/o/n/resolve/refs%2Fconvert%2Fparquet/x.parquet", False),
        ("/spaces/o/n/resolve/v1.0/app.py", False),
    ],
)
def test_a_file_of_the_hub_is_told_from_all_else(target: str, is_pinned: bool) -> None:
    ask = asked.hub(target)
    assert isinstance(ask, asked.HubFileAsk)
    assert (ask.target, ask.is_pinned, ask.at(ask.revision)) == (target, is_pinned, target)


def test_a_file_of_a_branch_is_that_of_a_commit() -> None:
    ask = asked.hub("/datasets/o/n/resolve/refs%2Fpr%2F1/a/resolve/main/x?download=true")
    assert isinstance(ask, asked.HubFileAsk)
    assert ask.at(COMMIT) == f"/datasets/o/n/resolve/{COMMIT}/a/resolve/main/x?download=true"


@pytest.mark.parametrize(
    "target",
    ["/api/models/o/n/revision/main", "/api/resolve/x/resolve/y", "/o/n/raw/main/README.md",
     "/o/n/resolve/main/", "/resolve/main/x", "/o/n.git/info/lfs/objects/batch", "/"],
)  # fmt: skip
def test_all_else_of_the_hub_is_passed_on(target: str) -> None:
    assert asked.hub(target) == asked.HubAsk(target)


@pytest.mark.parametrize(
    "target",
    ["/o/n/resolve/main/../../x", "/o/n/resolve/main/%2e%2e/x", "/o/n/resolve/main/a%0d%0ab",
     "/o/n/resolve/main/%252e%252E%252fx", "http://evil.org/x", "//evil.org/..",
     "/o/n/resolve/main/a%00", "/o/n/resolve/main/..%5c..%5cx"],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_than_it_says_is_refused(target: str) -> None:
    with pytest.raises(AskRefusedError):
        asked.hub(target)
