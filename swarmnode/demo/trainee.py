"""The demo's task: counts steps, checkpoints each fifth, resumes where the last one left it.

Runs inside the sandbox with nothing but the standard library and `swarm_ctx`.
"""

import json
import sys
import time

import swarm_ctx as ctx

CHECKPOINT_EVERY = 5


def main(steps: int, seconds_per_step: float) -> None:
    """Add up the step numbers, as slowly as asked."""
    first, total = 0, 0
    restored = ctx.restore()
    if restored is not None:
        state = json.loads((restored.folder / "state.json").read_bytes())
        first, total = state["step"], state["total"]
    print(json.dumps({"first_step": first}), flush=True)
    for step in range(first + 1, steps + 1):
        time.sleep(seconds_per_step)
        total += step
        print(json.dumps({"step": step}), flush=True)
        if step % CHECKPOINT_EVERY == 0:
            ctx.checkpoint(
                step, {"state.json": json.dumps({"step": step, "total": total}).encode()}
            )
    print(json.dumps({"total": total}), flush=True)


main(int(sys.argv[1]), float(sys.argv[2]))
