"""What a registry is told of a person, and who else is not told."""

from pathlib import Path

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.registry.logins import Login
from tests.net_lab import Authority
from tests.registry_lab import (
    LAYERS,
    PACKED,
    Shelf,
    fetched,
    image_on,
    looked,
    registry,
    settings_for,
)


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


def test_an_identity_token_is_given_to_who_gives_tokens_and_stands_in_no_address(
    tmp_path: Path,
) -> None:
    """As `az acr login` leaves it: docker takes it, others did not (containers/image#748)."""
    shelf = Shelf(identity_token="id/secret+=", gives_tokens=True, token_uses=2)
    image_on(shelf, "team/x", PACKED, settings_for(LAYERS))
    identity = Login(identity_token=shelf.identity_token)
    with registry(shelf) as address:
        fetched(tmp_path, address, "team/x:1", identity)
        assert set(shelf.paths("/token")) == {"POST /token"}
        assert len(shelf.forms) > 1, "a long pull outlives a token"
        form = shelf.forms[0]
        assert (form["grant_type"], form["service"]) == ("refresh_token", "lab")
        assert form["scope"] == "repository:team/x:pull"
        assert not any("secret" in str((path, headers)) for _, path, headers in shelf.asked)
        for wanted, code in (("other", 401), ("", 405)):  # it is over; a password alone is taken
            shelf.identity_token = wanted
            over = Login(note="log in anew", identity_token="id/secret+=")
            said = rf"login is refused \({code}\).*for your login \(log in anew"
            with pytest.raises(ProjectError, match=said) as caught:
                looked(tmp_path / str(code), address, "team/x:1", over)
            assert "secret" not in str(caught.value)


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
