"""The folder that tells programs of a project: text alone, and the same for the same project."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from swarmnode.project.itself.about import Distribution

LIBRARY: Final = "lib"
"""For Python's path: what is told of each."""
PROGRAMS: Final = "bin"
_CALLED: Final = re.compile(r"([\w.]+)\s*:\s*([\w.]+)\s*(?:\[[^]]*\])?")
_PROGRAM: Final = re.compile(r"[\w][\w.+-]*", re.ASCII)
_SCRIPT: Final = """\
#!/usr/bin/env python3
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.exit({function}())
"""


def files_of(distributions: Iterable[Distribution]) -> Iterator[tuple[str, str, bool]]:
    """Of each file its place, what is in it, and whether it is a program."""
    for one in distributions:
        info = f"{_plain(one.name)}-{one.version.replace('-', '_')}.dist-info"
        files = {
            f"{info}/METADATA": _metadata(one),
            f"{info}/INSTALLER": "swarm\n",
            f"{info}/entry_points.txt": _entry_points(one.entries),
        }
        files = {place: text for place, text in files.items() if text}
        files[f"{info}/RECORD"] = _record([*files, f"{info}/RECORD"])
        for place, text in files.items():
            yield f"{LIBRARY}/{place}", text, False
        for name, text in _scripts(one):
            yield f"{PROGRAMS}/{name}", text, True


def _scripts(one: Distribution) -> Iterator[tuple[str, str]]:
    """Those that name a function; the others nobody could start."""
    for group in ("console_scripts", "gui_scripts"):
        for name, target in one.entries.get(group, {}).items():
            called = _CALLED.fullmatch(target)
            if called and _PROGRAM.fullmatch(name):
                first = called[2].partition(".")[0]
                yield name, _SCRIPT.format(module=called[1], first=first, function=called[2])


def _metadata(one: Distribution) -> str:
    head = [("Metadata-Version", "2.1"), ("Name", one.name), ("Version", one.version)]
    return "".join(f"{field}: {value}\n" for field, value in (*head, *one.fields))


def _entry_points(entries: Mapping[str, Mapping[str, str]]) -> str:
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in names.items())
        for group, names in entries.items()
        if names
    )
    return "\n".join(groups)


def _record(places: Iterable[str]) -> str:
    """Without hashes: none of these files is checked by anybody, and its modules lie elsewhere."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([place, "", ""] for place in places)
    return out.getvalue()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
