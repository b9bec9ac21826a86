"""Index pages lead to the mirror, and say of each file what PyPI said."""

import msgspec
import pytest

from swarmnode.mirror.errors import UpstreamError
from swarmnode.mirror.rules import simple

SUM, BESIDE = "a" * 64, "b" * 64
BASE, MIRROR = "https://pypi.org/simple/x/", "http://pypi.mirror.swarm"
PLACE = "https://files.pythonhosted.org/packages/ab/"
WHEEL = {
    "filename": "x-1.0-py3-none-any.whl",
    "url": f"{PLACE}x-1.0-py3-none-any.whl",
    "hashes": {"sha256": SUM},
    "requires-python": ">=3.8,<4",
    "core-metadata": {"sha256": BESIDE},
    "data-dist-info-metadata": {"sha256": BESIDE},
    "yanked": "a <bad> one",
    "size": 10,
    "upload-time": "2026-01-01T00:00:00Z",
    "provenance": None,
}


def _page(*files: dict[str, object]) -> bytes:
    meta = {"api-version": "1.3"}
    return msgspec.json.encode(
        {"meta": meta, "name": "x", "versions": ["1.0"], "files": files, "new": 1}
    )


def _one(**changes: object) -> dict[str, object]:
    told = msgspec.json.decode(simple.mirrored(_page({**WHEEL, **changes}), BASE, MIRROR))
    assert (told["meta"], told["name"], told["versions"]) == (
        {"api-version": "1.3"}, "x", ["1.0"],
    )  # fmt: skip
    (file,) = told["files"]
    assert isinstance(file, dict)
    return file


def test_a_file_is_found_at_the_mirror_by_its_digests() -> None:
    file = _one()
    place = f"{MIRROR}/files/{SUM}/{BESIDE}/files.pythonhosted.org/packages/ab/"
    assert file["url"] == f"{place}x-1.0-py3-none-any.whl"
    assert "?" not in str(file["url"])  # pip#12033: installers append .metadata to all of it
    for key in ("hashes", "core-metadata", "requires-python", "yanked", "size", "upload-time"):
        assert file[key] == WHEEL[key]


def test_an_address_may_be_relative_to_the_page() -> None:
    assert str(_one(url="../../packages/x-1.0-py3-none-any.whl")["url"]).endswith(
        f"/{BESIDE}/pypi.org/packages/x-1.0-py3-none-any.whl"
    )


@pytest.mark.parametrize(
    "changes",
    [{"hashes": {}}, {"hashes": {"sha256": "zz"}}, {"hashes": {"md5": "a" * 32}},
     {"url": "http://files.pythonhosted.org/x.whl"}, {"url": "https://evil.org/x.whl"},
     {"url": f"{PLACE}x.whl?sig=1"}, {"url": "https://files.pythonhosted.org:22/x.whl"},
     {"url": "https://[::1/x.whl"}],
)  # fmt: skip
def test_what_cannot_be_kept_stays_where_it_is(changes: dict[str, object]) -> None:
    file = _one(**changes)
    assert file["url"] == changes.get("url", WHEEL["url"])


def test_metadata_is_told_of_only_where_it_can_be_given() -> None:
    """Installers fail for good where it is told of and not there (proxpi#23, artifact-keeper#517),
    and where its digest is another one (artifact-keeper#3076)."""
    file = _one(**{"core-metadata": True, "dist-info-metadata": True})
    assert "core-metadata" not in file
    assert "dist-info-metadata" not in file
    assert f"/{SUM}/-/" in str(file["url"])


def test_older_installers_get_the_same_as_html() -> None:
    told = simple.as_html(simple.mirrored(_page(WHEEL), BASE, MIRROR)).decode()
    assert f'x-1.0-py3-none-any.whl#sha256={SUM}"' in told
    assert 'data-requires-python="&gt;=3.8,&lt;4"' in told
    assert f'data-dist-info-metadata="sha256={BESIDE}"' in told
    assert 'data-yanked="a &lt;bad&gt; one"' in told


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("application/vnd.pypi.simple.v1+json, text/html;q=0.01", simple.JSON),
     (f"{simple.HTML};q=0.2,{simple.JSON}; q=0.1", simple.HTML),
     ("text/html", "text/html"), ("*/*", "text/html"), ("", "text/html"),
     (f"{simple.JSON};q=x", "text/html")],
)  # fmt: skip
def test_the_form_is_the_one_that_is_asked_for(accept: str, kind: str) -> None:
    assert simple.preferred(accept) == kind


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[" * 100_000, b'{"name": "x"}', b'{"name":"x","files":[{"url":1}]}']
)
def test_what_is_no_page_is_said_so(data: bytes) -> None:
    with pytest.raises(UpstreamError, match="no index page"):
        simple.mirrored(data, BASE, MIRROR)
