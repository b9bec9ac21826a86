"""Seven containers as the stage of the nine steps: seen from outside, steered by docker."""

import subprocess
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from swarmnode.cli.client import ApiError, Client, NodeUnreachableError
from swarmnode.demo.report import StepFailedError, until
from swarmnode.demo.stage import StageNode
from testnet import compose

READY_S = 120.0


@dataclass(slots=True)
class ContainerNode:
    """One container."""

    name: str
    container: str
    client: Client
    peer: str = ""
    killed: bool = False

    @property
    def pid(self) -> int:
        """Of the container's first process, on this machine."""
        return int(compose.docker("inspect", "--format", "{{.State.Pid}}", self.container))

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the node's user."""
        return subprocess.run(
            ["docker", "exec", self.container, *argv], capture_output=True, text=True, timeout=60
        )


@dataclass(slots=True)
class ContainerSwarm:
    """Everything compose.yaml brings up; `up` first, `down` at the end whatever happened."""

    project: compose.Project
    nodes: list[ContainerNode] = field(default_factory=list)

    def up(self) -> None:
        """Start from nothing and wait until every node is ready and knows itself."""
        compose.down(self.project)
        compose.up(self.project)
        for service in self.project.services:
            self.nodes.append(self._node(service))
        for node in self.nodes:
            until(partial(self._is_ready, node), within_s=READY_S, what=f"{node.name} ready")
            node.peer = node.client.get("/api/v1/status")["peer"]

    def _node(self, service: str) -> ContainerNode:
        container = f"{self.project.name}-{service}"
        until(lambda: self._token(container), within_s=READY_S, what=f"the token of {service}")
        url = f"http://{compose.address_of(self.project, service)}:8080"
        return ContainerNode(service, container, Client(Path("/"), url, self._token(container)))

    def _token(self, container: str) -> str:
        done = subprocess.run(
            ["docker", "exec", container, "cat", "/var/lib/swarm/api-token"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode and "is not running" in done.stderr:
            raise StepFailedError(f"{container} ended:\n{self._log(container)}")
        return done.stdout.strip()

    def _log(self, container: str) -> str:
        done = subprocess.run(
            ["docker", "logs", "--tail", "20", container], capture_output=True, text=True
        )
        return done.stdout + done.stderr

    def _is_ready(self, node: ContainerNode) -> bool:
        try:
            node.client.wait_ready(0.2)
        except (NodeUnreachableError, ApiError):
            return False
        return True

    def down(self) -> None:
        """Remove everything."""
        compose.down(self.project)

    # -- the stage (swarmnode.demo.stage.Stage)

    def alive(self) -> list[ContainerNode]:
        """Nodes that were not killed."""
        return [node for node in self.nodes if not node.killed]

    def node_of(self, peer: str) -> ContainerNode:
        """The node with that peer id."""
        return next(node for node in self.nodes if node.peer == peer)

    def name_of(self, peer: str) -> str:
        """Its name, for people."""
        return next((node.name for node in self.nodes if node.peer == peer), peer[-8:])

    def kill_machine(self, node: StageNode) -> None:
        """SIGKILL the container: everything in it dies at once."""
        mine = self.node_of(node.peer)
        mine.killed = True
        compose.docker("kill", "--signal", "KILL", mine.container)

    def stop(self) -> None:
        """SIGTERM everybody; nobody may need to be killed."""
        for node in self.alive():
            compose.docker("stop", node.container)
            form = "{{.State.ExitCode}}"
            code = compose.docker("inspect", "--format", form, node.container)
            if code != "0":
                raise StepFailedError(
                    f"{node.name} ended with {code}:\n{self._log(node.container)}"
                )
        self.down()

    def leftovers(self) -> list[str]:
        """Containers and volumes of the project that are still there."""
        mine = f"label={compose.LABEL}={self.project.name}"
        containers = compose.docker("ps", "--all", "--quiet", "--filter", mine).split()
        volumes = set(compose.docker("volume", "ls", "--quiet").split())
        return containers + [
            v for v in self.project.volumes if f"{self.project.name}_{v}" in volumes
        ]
