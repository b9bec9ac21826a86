"""Exit 0 when this machine's node is alive: what a container's HEALTHCHECK runs."""

import os
import sys

from swarmnode.cli.client import ApiError, Client, NodeUnreachableError
from swarmnode.home.folders import locate

TIMEOUT_S = 4.0


def main() -> int:
    """Ask /readyz once."""
    client = Client(locate(os.environ).api_socket)
    try:
        client.wait_ready(TIMEOUT_S)
    except (NodeUnreachableError, ApiError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
