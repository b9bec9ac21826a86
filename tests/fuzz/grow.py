"""`python -m tests.fuzz.grow [CASES] [SEED]`: longer campaigns, whose finds join the corpus."""

import sys

from tests.fuzz.campaign import campaign, store, stored
from tests.fuzz.targets import TARGETS

KEPT_MAX = 60
"""Inputs of one target: enough to begin at every check, few enough to read."""


def main() -> None:
    """Run every target; print what was found."""
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for target in TARGETS:
        kept = stored(target)
        fresh = list(campaign(target, cases, seed))
        store(target, [*kept, *fresh][:KEPT_MAX])
        print(f"{target.name:16} {len(kept)} kept, {len(fresh)} new", flush=True)


if __name__ == "__main__":
    main()
