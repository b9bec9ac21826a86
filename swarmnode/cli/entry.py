"""Where `swarmnode` and `swarm` begin: Ctrl-C is answered before the command line is loaded."""

from swarmnode.boot.early import keep_standard_streams, leave_on_interrupt


def main() -> None:
    """Entry point of both names."""
    leave_on_interrupt()
    keep_standard_streams()
    from swarmnode.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
