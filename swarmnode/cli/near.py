"""What was meant by a name that there is not."""

from collections.abc import Iterable

from swarmnode.cli.output import printable


def meant(name: str, known: Iterable[str]) -> str:
    """The nearest of the names that there are, fit to be printed; empty where none is near."""
    import difflib  # here: few commands fail

    near = difflib.get_close_matches(name, sorted(set(known)), n=1)
    return printable(near[0]) if near else ""
