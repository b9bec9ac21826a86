"""The node process, which `swarmnode up` becomes: Ctrl-C is answered before anything is loaded."""

import sys

from swarmnode.boot.early import hear_signals, keep_standard_streams, leave_on_interrupt


def main() -> int:
    """Start, serve, stop; the exit code."""
    leave_on_interrupt()
    hear_signals()
    keep_standard_streams()
    from swarmnode.boot.process import main as node_process

    return node_process()


if __name__ == "__main__":
    sys.exit(main())
