"""Brings compose.yaml up with docker alone, where Compose v2 is not installed.

Debian's docker-compose (1.29) cannot pass `systempaths=unconfined` and the registry plugin is not
everywhere. This reads the same file and knows exactly the keys it uses: a key it does not know is
an error, so the file and this runner cannot drift apart.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).parent
FILE: Final = FOLDER / "compose.yaml"
LABEL: Final = "swarm.testnet"
_PASSED_BY: Final = frozenset({"build", "networks", "stop_grace_period"})
"""Keys that are no flag of `docker run`: the image is built before, the network made before."""


class ComposeError(Exception):
    """The file asks for something this runner does not know, or docker said no."""


@dataclass(frozen=True, slots=True)
class Project:
    """compose.yaml as read: services by name, networks, volumes."""

    name: str
    services: Mapping[str, Mapping[str, Any]]
    networks: Mapping[str, Mapping[str, Any]]
    volumes: Sequence[str]


def read(path: Path = FILE, name: str = "swarm") -> Project:
    """Read and check the file. Raises ComposeError."""
    document = yaml.safe_load(path.read_text())
    unknown = [
        key
        for key in document
        if key not in ("services", "networks", "volumes") and not key.startswith("x-")
    ]
    if unknown:
        raise ComposeError(f"{path}: unknown keys {unknown}")
    return Project(name, document["services"], document["networks"], list(document["volumes"]))


def run_flags(project: Project, service: str, environ: Mapping[str, str]) -> list[str]:
    """The `docker run` command line of one service. Raises ComposeError for an unknown key."""
    spec = project.services[service]
    flags = ["--name", f"{project.name}-{service}", "--label", f"{LABEL}={project.name}"]
    for network in spec["networks"]:
        flags += ["--network", f"{project.name}_{network}", "--network-alias", service]
    entrypoint: list[str] = []
    for key, value in spec.items():
        if key == "entrypoint":
            flags += ["--entrypoint", value[0]]
            entrypoint = value[1:]
        elif key not in ("image", "command") and key not in _PASSED_BY:
            flags += _flags_of(project, key, value)
    grace_s = str(spec.get("stop_grace_period", "10s")).rstrip("s")
    image = _substituted(spec["image"], environ)
    return [*flags, "--stop-timeout", grace_s, image, *entrypoint, *spec.get("command", [])]


def _flags_of(project: Project, key: str, value: Any) -> list[str]:  # noqa: ANN401
    if key == "environment":
        return [part for name, text in value.items() for part in ("--env", f"{name}={text}")]
    if key == "volumes":
        return [part for one in value for part in ("--volume", _volume(project, one))]
    if key == "security_opt":
        return [part for one in value for part in ("--security-opt", _security(one))]
    if key in ("cap_drop", "tmpfs"):
        return [part for one in value for part in (f"--{key.replace('_', '-')}", one)]
    if key in ("read_only", "init"):
        return [f"--{key.replace('_', '-')}"] if value else []
    named = {"hostname": "--hostname", "mem_limit": "--memory", "pids_limit": "--pids-limit"}
    if key not in named:
        raise ComposeError(f"the runner does not know {key!r}")
    return [named[key], str(value)]


def _volume(project: Project, text: str) -> str:
    source, _, rest = text.partition(":")
    if source.startswith("./"):
        return f"{FOLDER / source[2:]}:{rest}"
    if source not in project.volumes:
        raise ComposeError(f"volume {source!r} is not declared")
    return f"{project.name}_{source}:{rest}"


def _security(text: str) -> str:
    kind, _, value = text.partition(":")
    return f"seccomp={FOLDER / value}" if kind == "seccomp" else text


def _substituted(text: str, environ: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        return environ.get(match[1]) or match[2]

    return re.sub(r"\$\{(\w+):-([^}]*)\}", one, text)


def docker(*arguments: str, check: bool = True) -> str:
    """Run docker; its output. Raises ComposeError with its last words."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if check and done.returncode:
        raise ComposeError(f"docker {arguments[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def up(project: Project) -> None:
    """Make networks and volumes, start every service."""
    for name, spec in project.networks.items():
        internal = ["--internal"] if spec.get("internal") else []
        full = f"{project.name}_{name}"
        label = ["--label", f"{LABEL}={project.name}"]
        docker("network", "create", "--driver", spec["driver"], *internal, *label, full)
    for service in project.services:
        docker("run", "--detach", *run_flags(project, service, os.environ))


def down(project: Project) -> None:
    """Remove every container, network and volume of the project; none is no error."""
    mine = f"label={LABEL}={project.name}"
    if found := docker("ps", "--all", "--quiet", "--filter", mine).split():
        docker("rm", "--force", "--volumes", *found)
    if networks := docker("network", "ls", "--quiet", "--filter", mine).split():
        docker("network", "rm", *networks)
    have = set(docker("volume", "ls", "--quiet").split())
    for name in project.volumes:
        if f"{project.name}_{name}" in have:
            docker("volume", "rm", f"{project.name}_{name}")


def address_of(project: Project, service: str) -> str:
    """The IP address of a running service. Raises ComposeError when it has ended."""
    container = f"{project.name}-{service}"
    found = json.loads(docker("inspect", container))
    networks = found[0]["NetworkSettings"]["Networks"]
    address = str(next(iter(networks.values()))["IPAddress"])
    if not address:
        raise ComposeError(f"{container} has ended; `docker logs {container}` may say why")
    return address


def main(arguments: Sequence[str]) -> int:
    """`python -m testnet.compose up | down`."""
    acts = {"up": up, "down": down}
    if len(arguments) != 1 or arguments[0] not in acts:
        print("usage: python -m testnet.compose up | down", file=sys.stderr)
        return 2
    project = read()
    try:
        acts[arguments[0]](project)
        if arguments[0] == "up":
            for service in project.services:
                print(f"{service}: http://{address_of(project, service)}:8080")
    except ComposeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
