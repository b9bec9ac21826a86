"""Bytes are what their digest says, or they are not taken."""

import hashlib
import subprocess
from pathlib import Path
from shutil import which

import pytest

from swarmnode.mirror.limits import GIT_FILE_BYTES_MAX
from swarmnode.mirror.rules import digest
from swarmnode.mirror.rules.digest import FileCheck, FileDigest

BODY = b"some bytes\n"


def _git() -> str:
    return hashlib.sha1(b"blob 11\0" + BODY, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    "named", [FileDigest("sha256", hashlib.sha256(BODY).hexdigest()), FileDigest("git", _git())]
)
def test_a_file_is_right_when_all_its_bytes_are(named: FileDigest) -> None:
    for body, is_right in ((BODY, True), (BODY[:-1], False), (BODY + b"x", False), (b"", False)):
        check = FileCheck(named, len(BODY))
        check.update(body[:4])
        check.update(body[4:])
        assert check.is_right() is is_right
    assert digest.parse(str(named)) == named


@pytest.mark.skipif(which("git") is None, reason="git is missing: apt install git")
def test_git_names_a_blob_as_we_do(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BODY)
    said = subprocess.run(["git", "hash-object", tmp_path / "x"], capture_output=True, check=True)
    assert said.stdout.decode().strip() == _git()


@pytest.mark.parametrize(
    "text", ["", "sha256-", "sha1-" + "a" * 40, "git-" + "g" * 40, "../x", "a"]
)
def test_what_is_no_digest_is_none(text: str) -> None:
    assert digest.parse(text) is None


def test_an_etag_names_a_digest_when_it_is_one() -> None:
    large, small = "A" * 64, "b" * 40
    assert digest.of_etag(f'W/"{small}"', 9) == FileDigest("git", small)
    assert digest.of_etag(f'"{large.lower()}"', 9) == FileDigest("sha256", "a" * 64)
    assert digest.of_etag('"5-abc"', 9) is None
    assert digest.of_etag(f'"{small}"', GIT_FILE_BYTES_MAX + 1) is None
