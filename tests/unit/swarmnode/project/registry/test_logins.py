"""Logins come from docker's configuration, and from nothing else."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.registry.logins import login_for

ME = "Basic " + b64encode(b"me:secret").decode()


def header(tmp_path: Path, config: object, host: str) -> str:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return login_for(host, {"DOCKER_CONFIG": str(tmp_path)}, tmp_path / "none").header


@pytest.mark.parametrize(
    "key", ["gcr.io", "https://gcr.io", "http://gcr.io/v1/", "https://gcr.io/v2/some/where"]
)
def test_a_login_is_found_under_every_way_of_writing_its_registry(tmp_path: Path, key: str) -> None:
    entry = {"auth": b64encode(b"me:secret").decode()}
    assert header(tmp_path, {"auths": {key: entry}}, "gcr.io") == ME
    assert header(tmp_path, {"auths": {key: entry}}, "gcr.io:5000") == ""
    assert header(tmp_path, {"auths": {key: entry}}, "evil-gcr.io") == ""


def test_docker_io_has_three_names(tmp_path: Path) -> None:
    entry = {"username": "me", "password": "secret"}
    for key in ("https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"):
        assert header(tmp_path, {"auths": {key: entry}}, "docker.io") == ME


def test_it_is_read_from_the_home_folder_where_nothing_else_is_said(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    entry = {"auth": b64encode(b"me:secret").decode()}
    (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {"a.b": entry}}))
    assert login_for("a.b", {}, tmp_path).header == ME
    assert login_for("a.b", {}, tmp_path / "elsewhere").header == ""


def test_a_program_that_keeps_logins_is_not_run_and_that_is_said(tmp_path: Path) -> None:
    for config in (
        {"credHelpers": {"gcr.io": "gcloud"}},
        {"credsStore": "gcloud", "auths": {"gcr.io": {}}},
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        login = login_for("gcr.io", {"DOCKER_CONFIG": str(tmp_path)}, tmp_path)
        assert not login.header
        assert "docker-credential-gcloud, which is not run here" in login.note
        assert not login_for("quay.io", {"DOCKER_CONFIG": str(tmp_path)}, tmp_path).note


def test_an_identity_token_goes_before_the_user_that_stands_beside_it(tmp_path: Path) -> None:
    nobody = b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
    for more in ({}, {"auth": nobody}, {"username": "<token>", "password": "old"}):
        config = {"auths": {"x.azurecr.io": {"identitytoken": "t", **more}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        login = login_for("x.azurecr.io", {"DOCKER_CONFIG": str(tmp_path)}, tmp_path)
        assert (login.header, login.identity_token) == ("", "t")
        assert "az acr login" in login.note


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": 1}', '{"auths": {"a.b": {"auth": "secret!"}}}', '{"a":' * 99999]
)
def test_a_damaged_file_is_named_and_nothing_of_it_is_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ProjectError, match=r"config\.json") as caught:
        login_for("a.b", {"DOCKER_CONFIG": str(tmp_path)}, tmp_path)
    assert "secret" not in str(caught.value)
