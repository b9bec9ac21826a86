"""An image of a registry, as far as what names it; the registry is one on this machine."""

import gzip
import json
import os
import platform
from base64 import b64encode
from pathlib import Path

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.images.saved import image_at
from swarmnode.project.registry.client import Registry
from swarmnode.project.registry.layers import brought
from swarmnode.project.registry.logins import Login
from swarmnode.project.registry.pull import Documents, RemoteImage
from swarmnode.project.registry.reference import reference_of
from tests.image_lab import ARCHITECTURE, Item, layer
from tests.net_lab import Authority
from tests.registry_lab import (
    DOCKER,
    OCI,
    Shelf,
    digest_of,
    image_on,
    index_on,
    manifest_on,
    registry,
    settings_for,
)

LAYERS = [layer(Item("a", os.urandom(3000))), layer(Item("b", b"2"))]
PACKED = [gzip.compress(one) for one in LAYERS]
MACHINE = platform.machine()
LOGIN = Login("Basic " + b64encode(b"me:secret").decode())


def looked(
    folder: Path, address: str, which: str = "x:1", login: Login = LOGIN
) -> tuple[RemoteImage, Documents, Registry]:
    reference = reference_of(f"docker://{address}/{which}")
    asked = Registry(reference, login)
    documents = Documents(reference, asked, folder, wait=lambda s: None)
    return documents.look(MACHINE), documents, asked


def fetched(folder: Path, address: str, which: str = "x:1", login: Login = LOGIN) -> str:
    """The digest of the image in the layout that was brought."""
    image, documents, asked = looked(folder, address, which, login)
    with brought(image, asked, documents, lambda size: None, wait=lambda s: None) as layout:
        for one in image.layers:
            assert digest_of((layout / "blobs/sha256" / one.digits).read_bytes()) == one.digest
        return image_at(layout).digest


@pytest.mark.parametrize("family", [OCI, DOCKER])
def test_an_image_comes_whole_and_has_the_name_that_an_archive_of_it_has(
    tmp_path: Path, family: str
) -> None:
    shelf, settings = Shelf(), settings_for(LAYERS)
    image_on(shelf, "x", PACKED, settings, family=family)
    with registry(shelf) as address:
        assert fetched(tmp_path, address) == digest_of(settings)
    assert not list(tmp_path.glob("*/blobs")), "what was sent on is not kept"


@pytest.mark.parametrize("family", [OCI, DOCKER])
def test_of_an_index_the_image_for_this_kind_of_machine_is_taken(
    tmp_path: Path, family: str
) -> None:
    shelf, settings = Shelf(), settings_for(LAYERS)
    other = image_on(shelf, "x", PACKED, settings_for(LAYERS, "s390x"), tag="o")
    ours = image_on(shelf, "x", PACKED, settings, tag="u", family=family)
    whole = index_on(shelf, {"s390x": other, ARCHITECTURE: ours}, "1", family)
    index_on(shelf, {"s390x": other}, "2")
    with registry(shelf) as address:
        image, _, _ = looked(tmp_path, address)
        assert (image.digest, image.told) == (digest_of(settings), whole)
        with pytest.raises(ProjectError, match=rf"not there for {MACHINE}, only for linux/s390x"):
            looked(tmp_path, address, "x:2")
        with pytest.raises(ProjectError, match="is for linux/s390x, not for"):
            looked(tmp_path, address, "x:o")


def test_of_an_index_in_an_index_the_image_is_taken_and_no_note_about_it(tmp_path: Path) -> None:
    """As builders write them that add how an image was made."""
    shelf, settings = Shelf(), settings_for(LAYERS)
    note = image_on(shelf, "x", PACKED, b"{}", tag="n")
    ours = image_on(shelf, "x", PACKED, settings, tag="u")
    inner = index_on(shelf, {"unknown": note, "": note, ARCHITECTURE: ours}, "i")
    index_on(shelf, {"unknown": note, "s390x": note, ARCHITECTURE: inner}, "1")
    unsaid = {"manifests": [{"digest": ours, "size": 1}]}
    manifest_on(shelf, f"{OCI}.index.v1+json", json.dumps(unsaid).encode(), "2")
    with registry(shelf) as address:
        for tag in ("1", "2"):
            assert looked(tmp_path, address, f"x:{tag}")[0].digest == digest_of(settings)
        asked = next(headers["Accept"] for _, path, headers in shelf.asked if "manifests" in path)
        assert "image.index.v1+json" in asked
        assert "manifest.list.v2+json" in asked


def test_what_a_tag_means_is_asked_again_and_nothing_else_is(tmp_path: Path) -> None:
    shelf = Shelf()
    first = image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        looked(tmp_path, address)
        shelf.asked.clear()
        image, _, _ = looked(tmp_path, address)
        assert shelf.paths("/x/") == ["HEAD /v2/x/manifests/1"]
        assert image.told == first
        moved = image_on(shelf, "x", PACKED, settings_for(LAYERS, mark="new"))
        assert looked(tmp_path, address)[0].told == moved
    pinned = looked(tmp_path, address, f"x@{first}")[0]  # nobody is there any more
    assert pinned.told == first


def test_a_registry_that_says_no_digest_is_read_instead(tmp_path: Path) -> None:
    shelf = Shelf(says_digests=False)
    told = image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        assert looked(tmp_path, address)[0].told == told


def test_a_token_is_had_with_the_login_and_renewed_when_it_is_over(tmp_path: Path) -> None:
    shelf = Shelf(login="me:secret", gives_tokens=True, token_uses=2)
    image_on(shelf, "team/x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        fetched(tmp_path, address, "team/x:1")
    asked = shelf.paths("/token")
    assert len(asked) > 1, "a long pull outlives a token"
    assert all("scope=repository%3Ateam%2Fx%3Apull" in one for one in asked), "and no more"
    sent = [headers.get("Authorization", "") for _, path, headers in shelf.asked if "/v2/" in path]
    assert not any("Basic" in one for one in sent), "the login goes to who gives tokens"


def test_everybody_has_a_token_of_a_public_image(tmp_path: Path) -> None:
    shelf = Shelf(gives_tokens=True)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        fetched(tmp_path, address, login=Login())
    assert not any("Authorization" in headers for _, path, headers in shelf.asked if "tok" in path)


def test_a_login_goes_to_a_registry_that_gives_no_tokens(tmp_path: Path) -> None:
    shelf = Shelf(login="me:secret")
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        fetched(tmp_path, address)


@pytest.mark.parametrize("gives_tokens", [True, False])
def test_who_is_refused_is_told_whom_as_and_what_helps_and_no_secret(
    tmp_path: Path, gives_tokens: bool
) -> None:
    shelf = Shelf(login="me:other", gives_tokens=gives_tokens)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        with pytest.raises(ProjectError, match="not for your login") as caught:
            looked(tmp_path, address)
        assert "secret" not in str(caught.value)
        with pytest.raises(ProjectError, match=f"not for everybody .*docker login {address}"):
            looked(tmp_path, address, login=Login())
        with pytest.raises(ProjectError, match="a helper that is not run"):
            looked(tmp_path, address, login=Login(note="a helper that is not run"))


def test_nothing_that_tells_who_we_are_goes_where_a_registry_leads(tmp_path: Path) -> None:
    here, there = Shelf(login="me:secret"), Shelf()
    image_on(here, "x", PACKED, settings_for(LAYERS))
    there.blobs = here.blobs
    with registry(here) as address, registry(there) as elsewhere:
        here.leads_to = f"http://{elsewhere}"
        fetched(tmp_path, address)
    assert there.paths("blobs")
    assert not any("Authorization" in headers for _, _, headers in there.asked)


@pytest.mark.parametrize(
    "place",
    ["http://10.0.0.1:1", "file:///etc", "ftp://127.0.0.1", "http://[", "http://u:p@127.0.0.1:1"],
)
def test_a_registry_leads_to_no_place_without_tls(tmp_path: Path, place: str) -> None:
    shelf = Shelf(leads_to=place)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address, pytest.raises(ProjectError):
        looked(tmp_path, address)
    shelf = Shelf(gives_tokens=True, realm=place, login="me:secret")
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address, pytest.raises(ProjectError, match="tokens given without TLS"):
        looked(tmp_path, address)


def test_a_registry_with_tls_is_believed_by_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, plain = Authority(tmp_path, ["localhost"]), Shelf()
    shelf = Shelf(login="me:secret", gives_tokens=True)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf, authority.context) as address, registry(plain) as elsewhere:
        with pytest.raises(ProjectError, match=r"not trusted here .*SSL_CERT_FILE"):
            looked(tmp_path, address)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
        fetched(tmp_path / "1", address)
        shelf.realm = f"http://{elsewhere}/token"
        with pytest.raises(ProjectError, match="tokens given without TLS"):
            looked(tmp_path / "2", address)
        shelf.realm, shelf.leads_to = "", f"http://{elsewhere}"
        with pytest.raises(ProjectError, match="leads to a place without TLS"):
            looked(tmp_path / "3", address)
    assert not plain.asked


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_pull_that_is_cut_goes_on_where_it_was(tmp_path: Path, has_ranges: bool) -> None:
    shelf = Shelf(cuts=3, has_ranges=has_ranges)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        fetched(tmp_path, address)
    ranges = [headers["Range"] for _, _, headers in shelf.asked if "Range" in headers]
    assert ranges


def test_the_next_command_goes_on_where_one_has_ended(tmp_path: Path) -> None:
    shelf = Shelf()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        shelf.cuts = 1000
        with pytest.raises(ProjectError, match="the same command goes on where it ended"):
            fetched(tmp_path, address)
        part = next(tmp_path.glob("*/blobs/sha256/*.part"))
        assert part.stat().st_size
        shelf.cuts = 0
        shelf.asked.clear()
        fetched(tmp_path, address)
        assert any("Range" in headers for _, _, headers in shelf.asked)


def test_what_an_earlier_command_left_wrong_is_fetched_anew(tmp_path: Path) -> None:
    shelf = Shelf()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        image, _, _ = looked(tmp_path, address)
        blobs = tmp_path / image.settings.digits / "blobs/sha256"
        blobs.mkdir(parents=True)
        (blobs / f"{image.layers[0].digits}.part").write_bytes(b"x" * 100)
        (blobs / f"{image.layers[1].digits}.part").write_bytes(b"x" * 99999)
        fetched(tmp_path, address)


def test_other_bytes_than_their_digest_says_are_refused(tmp_path: Path) -> None:
    settings = settings_for(LAYERS)
    for number, lie in enumerate((digest_of(PACKED[0]), digest_of(settings), "manifest")):
        shelf = Shelf()
        told = image_on(shelf, "x", PACKED, settings)
        if lie == "manifest":
            shelf.manifests[told] = ("x", b"{}")
        else:
            shelf.blobs[lie] = shelf.blobs[lie][:-1] + b"x"
        with (
            registry(shelf) as address,
            pytest.raises(ProjectError, match="gives other bytes than"),
        ):
            fetched(tmp_path / str(number), address)


DOCUMENTS = {
    "version 1": ({"schemaVersion": 1}, "today's format"),
    "a chart": (
        {"config": {"mediaType": "application/vnd.cncf.helm", "digest": digest_of(b"")},
         "layers": []},
        "no image, but 'application/vnd.cncf.helm'",
    ),
    "too many layers": (
        {
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": digest_of(b""), "size": 0},
            "layers": [{"digest": digest_of(b""), "size": 0}] * 257,
        },
        "257 layers",
    ),
    "too large": (
        {
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": digest_of(b""), "size": 0},
            "layers": [{"digest": digest_of(b""), "size": 1 << 40}],
        },
        "more than 64 GiB",
    ),
    "encrypted": (
        {
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": digest_of(b""), "size": 0},
            "layers": [{"digest": digest_of(b""), "mediaType": "x+encrypted"}],
        },
        "is encrypted",
    ),
    "a digest that is a path": ({"config": {"digest": "sha256:../../x"}, "layers": []}, "no image"),
    "no digest known": ({"config": {"digest": "sha512:00"}, "layers": []}, "no image"),
    "a size below nothing": (
        {"config": {"digest": digest_of(b""), "size": -1}, "layers": []}, "no image"
    ),
    "words": ([1], "no image"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_no_image_is_refused_in_words(tmp_path: Path, name: str) -> None:
    document, why = DOCUMENTS[name]
    shelf = Shelf()
    manifest_on(shelf, f"{OCI}.manifest.v1+json", json.dumps(document).encode(), "1")
    with registry(shelf) as address, pytest.raises(ProjectError, match=why):
        looked(tmp_path, address)


def test_documents_without_end_are_refused(tmp_path: Path) -> None:
    shelf = Shelf()
    manifest_on(shelf, "x", b'{"manifests":' * 100_000, "1")
    manifest_on(shelf, "x", b" " * (9 << 20), "2")
    ring = {"manifests": [{"digest": digest_of(b"1"), "platform": {"architecture": ARCHITECTURE}}]}
    manifest_on(shelf, "x", json.dumps(ring).encode(), "3")
    with registry(shelf) as address:
        for tag, why in (("1", "is no image"), ("2", "more than"), ("3", "has no")):
            with pytest.raises(ProjectError, match=why):
                looked(tmp_path, address, f"x:{tag}")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (404, "has no x:1"),
        (403, "Either there is none"),
        (429, "too many requests"),
        (418, "answers 418"),
        (503, "answers 503"),
    ],
)
def test_what_a_registry_answers_is_said_in_words(tmp_path: Path, status: int, why: str) -> None:
    with registry(Shelf(answers=status)) as address, pytest.raises(ProjectError, match=why):
        looked(tmp_path, address)


def test_a_registry_that_is_not_there_is_named(tmp_path: Path) -> None:
    with registry(Shelf()) as address:
        pass
    with pytest.raises(ProjectError, match=f"{address} cannot be reached"):
        looked(tmp_path, address)


def test_nothing_is_written_through_links_that_a_repository_brought_along(tmp_path: Path) -> None:
    shelf, victim = Shelf(), tmp_path / "victim"
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    victim.write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    with registry(shelf) as address:
        image, _, _ = looked(tmp_path / "0", address)
        below = f"{image.settings.digits}/blobs/sha256"
        links = (".lock", f"{below}/{image.layers[0].digits}.part", "documents", "", below)
        for number, name in enumerate(links, 1):
            folder = tmp_path / f"{number}"
            link = folder / name if name else folder
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(
                victim if link.suffix in (".lock", ".part") or name == ".lock" else outside
            )
            with pytest.raises(ProjectError):
                fetched(folder, address)
            assert victim.read_text() == "mine", name
            assert not list(outside.iterdir()), name


def test_a_layer_that_a_registry_has_not_is_told_from_an_image_that_it_has_not(
    tmp_path: Path,
) -> None:
    shelf = Shelf()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        looked(tmp_path, address)
        del shelf.blobs[digest_of(PACKED[1])]
        with pytest.raises(ProjectError, match=f"{address} has not all of x:1"):
            fetched(tmp_path, address)


def test_who_a_registry_leads_to_is_given_no_login_whatever_it_asks_for(tmp_path: Path) -> None:
    """containerd's CVE-2020-15157: a foreign place names who gives it tokens."""
    here, there = Shelf(), Shelf(login="me:secret", gives_tokens=True)
    image_on(here, "x", PACKED, settings_for(LAYERS))
    with registry(here) as address, registry(there) as elsewhere:
        here.leads_to = f"http://{elsewhere}"
        with pytest.raises(ProjectError, match=f"leads to {elsewhere}, which answers 401"):
            looked(tmp_path, address)
    assert there.paths("blobs")
    assert not there.paths("token")
    assert not any("Authorization" in headers for _, _, headers in there.asked)


@pytest.mark.parametrize("part", ["manifests", "blobs", "token"])
def test_a_registry_that_says_when_is_waited_for(tmp_path: Path, part: str) -> None:
    shelf, waits = Shelf(gives_tokens=True, busy={part: 2}, again_in="7"), list[float]()
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address:
        reference = reference_of(f"docker://{address}/x:1")
        asked = Registry(reference, Login())
        documents = Documents(reference, asked, tmp_path, wait=waits.append)
        image = documents.look(MACHINE)
        shelf.busy = {"blobs": 1}
        with brought(image, asked, documents, lambda size: None, wait=waits.append):
            assert waits == [7, 7, 7]


@pytest.mark.parametrize("said", ["", "3600", "soon", "\u00b2", "9" * 30])
@pytest.mark.parametrize("part", ["manifests", "token"])
def test_a_registry_that_does_not_want_us_for_long_is_left_alone(
    tmp_path: Path, part: str, said: str
) -> None:
    shelf = Shelf(gives_tokens=True, busy={part: 9}, again_in=said)
    image_on(shelf, "x", PACKED, settings_for(LAYERS))
    with registry(shelf) as address, pytest.raises(ProjectError, match="too many requests"):
        looked(tmp_path, address)
    assert len(shelf.paths(part)) == 1


@pytest.mark.parametrize("says_digests", [True, False])
def test_an_image_of_the_first_format_is_told_as_one(tmp_path: Path, says_digests: bool) -> None:
    """What a registry says to be its digest is that of a part of its bytes."""
    shelf = Shelf(says_digests=says_digests)
    kind = f"{DOCKER}.distribution.manifest.v1+prettyjws"
    data = b'{"schemaVersion": 1, "fsLayers": []}'
    told = manifest_on(shelf, kind, data, "1")
    shelf.manifests[told] = (kind, data + b" ")
    with registry(shelf) as address, pytest.raises(ProjectError, match="today's format"):
        looked(tmp_path, address)


def test_of_several_for_one_kind_of_machine_the_one_for_most_is_taken(tmp_path: Path) -> None:
    shelf = Shelf()
    marks = {"": "plain", "/v1": "one", "/v2": "two", "/v4": "four"}
    made = {
        variant: image_on(shelf, "x", PACKED, settings_for(LAYERS, mark=mark), tag=mark)
        for variant, mark in marks.items()
    }
    others = {f"{ARCHITECTURE}{variant}": made[variant] for variant in ("/v4", "/v2", "/v1")}
    index_on(shelf, others, "1")
    many = {f"other{number}": made[""] for number in range(500)}
    index_on(shelf, {**many, **others, ARCHITECTURE: made[""]}, "2")
    with registry(shelf) as address:
        for tag, mark in (("1", "one"), ("2", "plain")):
            image, _, _ = looked(tmp_path, address, f"x:{tag}")
            assert image.digest == digest_of(settings_for(LAYERS, mark=mark))


def test_what_a_repository_brought_in_place_of_a_document_is_no_device(tmp_path: Path) -> None:
    shelf = Shelf()
    told = image_on(shelf, "x", PACKED, settings_for(LAYERS))
    documents = tmp_path / "documents"
    documents.mkdir()
    kept = documents / told.partition(":")[2]
    os.mkfifo(kept)
    with registry(shelf) as address:
        looked(tmp_path, address)
        assert kept.is_file()
        kept.unlink()
        kept.symlink_to("/dev/zero")
        looked(tmp_path, address)
        assert not kept.is_symlink()
