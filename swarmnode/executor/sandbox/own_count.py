"""Whether the processes of a job can be limited without a control group: by RLIMIT_NPROC.

That counts the processes of a user, so it is honest only where the user is the job's own. Whoever
says what this machine can limit asks here: the node that found it out by trying, and `doctor`.
"""

import re
from typing import Final

_SINCE: Final = (5, 14)
"""From this Linux on processes are counted per user namespace: each bubblewrap job has its own."""


def counts_jobs_apart(release: str, *, is_container: bool) -> bool:
    """`release` as uname(2) has it. In the `container` sandbox each job has a user of its own."""
    return is_container or _version(release) >= _SINCE


def _version(text: str) -> tuple[int, int]:
    version = re.search(r"(\d+)\.(\d+)", text)
    return (int(version[1]), int(version[2])) if version else (0, 0)
