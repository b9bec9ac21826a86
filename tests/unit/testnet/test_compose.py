"""The runner for compose.yaml: what it passes on, and that it leaves nothing out in silence."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from testnet.compose import ComposeError, Project, read, run_flags


def project(spec: Mapping[str, Any]) -> Project:
    return Project("p", {"one": {"image": "i", "networks": ["n"], **spec}}, {"n": {}}, ["data"])


def test_every_service_of_the_file_runs_without_privileges() -> None:
    found = read()
    assert len(found.services) == 7
    for service in found.services:
        flags = run_flags(found, service, {})
        pairs = set(pairwise(flags))
        assert ("--cap-drop", "ALL") in pairs
        assert ("--security-opt", "no-new-privileges:true") in pairs
        assert "--read-only" in flags
        assert not {"--privileged", "--cap-add", "--user"} & set(flags)


def test_the_image_is_what_the_environment_says_or_the_default() -> None:
    spec = project({"image": "${IMAGE:-plain}"})
    assert run_flags(spec, "one", {})[-1] == "plain"
    assert run_flags(spec, "one", {"IMAGE": "mine"})[-1] == "mine"


def test_the_rest_of_the_entry_point_goes_before_the_command() -> None:
    flags = run_flags(project({"entrypoint": ["tini", "--"], "command": ["run"]}), "one", {})
    assert flags[flags.index("--entrypoint") + 1] == "tini"
    assert flags[-3:] == ["i", "--", "run"]


@pytest.mark.parametrize("spec", [{"privileged": True}, {"volumes": ["nowhere:/x"]}])
def test_what_the_runner_does_not_know_is_an_error(spec: Mapping[str, Any]) -> None:
    with pytest.raises(ComposeError, match=r"does not know|not declared"):
        run_flags(project(spec), "one", {})
