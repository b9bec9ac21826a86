"""A node that is stopped while it stores something for its user among others."""

import os
import subprocess
import sys
from pathlib import Path

from swarmnode.demo.report import until
from tests.integration.swarm_lab import swarm_of

PUT = (sys.executable, "-m", "swarmnode.cli.entry", "obj", "put")


def test_a_node_that_is_stopped_in_the_middle_of_a_put_ends_with_0(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(200 << 20))
    with swarm_of(3) as swarm:
        node = swarm.nodes[0]
        before = node.client.get("/api/v1/status")["storage"]["used_bytes"]
        environ = os.environ | {"SWARM_HOME": str(node.home)}
        with subprocess.Popen([*PUT, str(big)], env=environ, stderr=subprocess.PIPE) as put:
            until(
                lambda: node.client.get("/api/v1/status")["storage"]["used_bytes"] > before + 1000,
                within_s=30,
                what="some of it stored",
            )
            assert node.process is not None
            node.process.terminate()
            assert node.process.wait(20) == 0, node.log_tail()
            _, said = put.communicate(timeout=30)  # that it was refused, or that nobody answers
        assert put.returncode != 0, (said, node.log_tail())
