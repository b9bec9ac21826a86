"""A daemon whose wall clock is set by a file: milliseconds to add, in the file KEEP_CLOCK names."""

import os
import sys
import time

_FILE = os.environ["KEEP_CLOCK"]
_true_ns = time.time_ns


def _skewed_ns() -> int:
    with open(_FILE) as file:
        return _true_ns() + int(file.read() or "0") * 1_000_000


time.time_ns = _skewed_ns
time.time = lambda: _skewed_ns() / 1e9

if __name__ == "__main__":
    from swarmnode.daemon import main

    sys.exit(main())
