"""A task: trains a classifier on scikit-learn's handwritten digits, checkpoint by checkpoint.

Softmax regression by full-batch gradient descent in float64: the same steps give the same weights,
so a run that was moved can be compared with one that was not. Usage: digits.py STEPS SECONDS EVERY
"""

import hashlib
import io
import json
import sys
import time

import numpy as np
import swarm_ctx as ctx
from sklearn.datasets import load_digits


def main(steps: int, seconds_per_step: float, every: int) -> None:
    """Print one JSON line per step, and at the end accuracy and a digest of the weights."""
    digits = load_digits()
    x = np.hstack([digits.data / 16.0, np.ones((len(digits.data), 1))])
    y = np.eye(10)[digits.target]
    first, weights = 0, np.zeros((x.shape[1], 10))
    restored = ctx.restore()
    if restored is not None:
        kept = np.load(restored.folder / "weights.npz")
        first, weights = int(kept["step"]), kept["weights"]
    print(json.dumps({"first_step": first}), flush=True)
    for step in range(first + 1, steps + 1):
        scores = np.exp(x @ weights - (x @ weights).max(axis=1, keepdims=True))
        chances = scores / scores.sum(axis=1, keepdims=True)
        weights = weights - 0.5 * x.T @ (chances - y) / len(x)
        time.sleep(seconds_per_step)
        print(json.dumps({"step": step}), flush=True)
        if step % every == 0:
            file = io.BytesIO()
            np.savez(file, step=step, weights=weights)
            ctx.checkpoint(step, {"weights.npz": file.getvalue()})
    accuracy = float(((x @ weights).argmax(axis=1) == digits.target).mean())
    digest = hashlib.sha256(weights.tobytes()).hexdigest()
    print(json.dumps({"accuracy": accuracy, "digest": digest}), flush=True)


main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
