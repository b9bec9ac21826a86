"""`pip` in an environment that has none: the machine's own would speak of other packages.

It tells what is in the environment, and who would install something what to do instead. One that
the environment brings itself comes first.
"""

import os
from pathlib import Path
from typing import Final

from swarmnode.executor.environments.shown import PLACE, BindSources

PROGRAMS: Final = "/run/environment/bin"
"""In the sandbox, where neither an environment nor an image has anything."""
_PIP: Final = f"""\
#!{PLACE}/venv/bin/python3
import sys
from importlib.metadata import distributions
if sys.argv[1:2] in (["list"], ["freeze"]):
    found = {{one.metadata["Name"]: one.version for one in distributions()}}
    for name in sorted(found, key=str.lower):
        print(f"{{name}}=={{found[name]}}")
else:
    sys.exit(
        "pip: an environment is not changed by tasks: name the package in the file that it is made "
        "from (requirements.txt, pyproject.toml, uv.lock). pip list tells what is in it"
    )
"""


def lay_out(folder: Path) -> Path:
    """Have it in a folder of this machine; it. Raises OSError."""
    file, part = folder / "pip", folder / ".part-pip"
    part.write_text(_PIP, encoding="utf-8")
    part.chmod(0o755)
    os.replace(part, file)
    return file


def stand_in(file: Path, sources: BindSources) -> tuple[str, ...]:
    """bubblewrap's options."""
    bind = ("--ro-bind", sources(file), f"{PROGRAMS}/pip")
    return (*bind, "--symlink", "pip", f"{PROGRAMS}/pip3")
