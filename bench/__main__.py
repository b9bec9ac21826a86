"""`python -m bench NAME [-o json]`: runs one bench and prints its figures."""

import argparse
import json
import sys
from importlib import import_module
from typing import Final

BENCHES: Final = {
    **{
        name: f"bench.{name}"
        for name in (
            "attack",
            "core",
            "data",
            "emulator",
            "env",
            "firstday",
            "keep",
            "qos",
            "relay",
        )
    },
    "containment": "bench.containment.figures",
    "link": "bench.link.figures",
    "tasknet": "bench.tasknet.figures",
}


def main() -> int:
    """Run a bench by name; 0 unless it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per figure (median)")
    parser.add_argument("--minutes", type=float, default=60, help="how long `keep` goes on")
    parser.add_argument("--seed", type=int, default=1, help="of what `keep` lets happen")
    parser.add_argument("--logs", default="", help="folder in which `keep` leaves the nodes' logs")
    parser.add_argument("--only", default="", help="parts of `env`, such as warm,spread")
    parser.add_argument("--with", default="", dest="sizes", help="sizes of `env`: warm_mb=2,...")
    chosen = parser.parse_args()
    bench = import_module(BENCHES[chosen.name])
    size: dict[str, object] = {"rounds": chosen.rounds}
    if chosen.name == "keep":
        size = {"minutes": chosen.minutes, "seed": chosen.seed, "logs": chosen.logs}
    elif chosen.name == "env":
        size |= {"only": chosen.only, "sizes": chosen.sizes}
    figures: dict[str, object] = bench.measure(**size)
    if chosen.output == "json":
        print(json.dumps({"bench": chosen.name, **size, **figures}))
        return 0
    for name, value in figures.items():
        print(f"{name:<20} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
