"""How images of registries are named: as podman, skopeo and apptainer have it."""

import pytest

from swarmnode.errors import ProjectError
from swarmnode.project.registry.reference import is_reference, reference_of

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("wish", "meant"),
    [
        ("docker://python", "docker.io/library/python:latest"),
        ("docker://python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("docker://pytorch/pytorch:2.4", "docker.io/pytorch/pytorch:2.4"),
        ("docker://index.docker.io/library/python", "docker.io/library/python:latest"),
        ("docker://ghcr.io/a/b-c/d_e:V1.0", "ghcr.io/a/b-c/d_e:V1.0"),
        ("docker://localhost/a", "localhost/a:latest"),
        ("docker://master:5000/busybox", "master:5000/busybox:latest"),
        ("docker://[::1]:5000/a:b", "[::1]:5000/a:b"),
        (f"docker://quay.io/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        (f"docker://quay.io/a/b:tag@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
    ],
)
def test_a_name_means_what_docker_means_by_it(wish: str, meant: str) -> None:
    assert str(reference_of(wish)) == f"docker://{meant}"
    assert str(reference_of(str(reference_of(wish)))) == f"docker://{meant}"


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("docker://", "no name of an image"),
        ("docker:///a", "no name of an image"),
        ("docker://gcr.io#a/b", "not #"),
        ("docker://me@gcr.io/a", "who you are is read from docker's logins"),
        ("docker://me:secret@gcr.io/a", "who you are is read from docker's logins"),
        ("docker://a@sha512:00", "behind @ stand sha256:"),
        ("docker://Ubuntu", "names are in small letters"),
        ("docker://a:b:c", "no tag"),
        ("docker://a/../b", "no name of an image"),
        ("docker://a.b/c?d", "no name of an image"),
        ("docker://a b.c/d", "no host of a registry"),
        ("docker://x.y:99999999/d", "no host of a registry"),
        ("docker://a:" + "t" * 200, "no tag"),
        ("docker://" + "a" * 300, "no name of an image"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_with_how_it_is_written(wish: str, why: str) -> None:
    with pytest.raises(ProjectError, match=why) as caught:
        reference_of(wish)
    assert "docker://HOST[:PORT]/NAME[:TAG]" in str(caught.value)


def test_a_path_is_never_taken_for_one() -> None:
    assert is_reference("docker://a")
    assert not any(map(is_reference, ("./docker://a", "docker:a", "a.tar", "")))


def test_a_registry_is_found_where_docker_finds_it() -> None:
    assert reference_of("docker://python").place == "registry-1.docker.io"
    assert reference_of("docker://ghcr.io/a/b").place == "ghcr.io"
    here = ("localhost/a", "localhost:5000/a", "127.0.0.1:5000/a", "127.1.2.3/a", "[::1]:5000/a")
    assert all(reference_of(f"docker://{one}").is_loopback for one in here)
    elsewhere = ("localhost.evil.com/a", "127.evil.com/a", "10.0.0.1:5000/a", "ghcr.io/a/b")
    assert not any(reference_of(f"docker://{one}").is_loopback for one in elsewhere)
