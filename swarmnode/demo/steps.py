"""The nine steps: each observes the swarm through the local API and measures what it promises.

No step calls what it claims to observe: repair and re-auction happen by themselves.
"""

import hashlib
import io
import random
import time
from dataclasses import dataclass, field
from importlib import resources

from swarmnode.cli.client import Document
from swarmnode.demo.report import DemoReport, StepFailedError, StepResult, objects_in, until
from swarmnode.demo.stage import Stage, StageNode

MIB = 1024 * 1024
OBJECT_MIB = 32
OBJECT_MIB_FAST = 8
TRAIN_STEPS = 60
TRAIN_STEPS_FAST = 40
SECONDS_PER_STEP = 0.1
KILL_AFTER_STEP = 20
STEPS = 9


def require(truth: object, problem: str) -> None:
    """Fail the step unless it holds."""
    if not truth:
        raise StepFailedError(problem)


@dataclass(slots=True)
class Demo:
    """What one step leaves for the next."""

    swarm: Stage
    report: DemoReport
    seed: int
    submitter: StageNode
    environment: str = ""
    """Environment by name in which the training task finds its Python; empty for the system's."""
    fast: bool = False
    receipt: Document = field(default_factory=dict)
    digest: str = ""
    victim_peer: str = ""
    writer: StageNode = field(init=False)
    _readers: list[str] = field(default_factory=list)

    @property
    def object_bytes(self) -> int:
        """Size of the object that travels."""
        return MIB * (OBJECT_MIB_FAST if self.fast else OBJECT_MIB)

    @property
    def train_steps(self) -> int:
        """Steps of the task that is interrupted."""
        return TRAIN_STEPS_FAST if self.fast else TRAIN_STEPS

    def run(self) -> None:
        """All nine, in order; the first failure ends the run."""
        self.discover()
        self.put()
        self.get_elsewhere()
        self.kill_a_holder()
        self.degraded_read()
        self.repair()
        self.auction()
        self.kill_the_winner()
        self.clean_stop()

    def discover(self) -> None:
        """Every node sees every other alive."""
        want = len(self.swarm.nodes)
        with self.report.step("discover") as step:
            until(self._all_see_all, within_s=20, what=f"{want}/{want} seen by every node")
            step.measured["nodes"] = f"{want}/{want}"

    def put(self) -> None:
        """Store an object, from a node that is not the only one left without a shard of it."""
        data = random.Random(self.seed).randbytes(self.object_bytes)  # noqa: S311
        self.digest = hashlib.sha256(data).hexdigest()
        with self.report.step(f"put {self.object_bytes // MIB} MiB") as step:
            for writer in (self.submitter, *self.swarm.nodes):
                self.writer = writer
                self.receipt, seconds = self._timed_put(data)
                if self._without_shards():
                    break
            step.measured["code"] = f"{self.receipt['k']}/{self.receipt['n']}"
            step.measured["mb_s"] = self.object_bytes / 1e6 / seconds
            step.measured["survives"] = self.receipt["survives"]

    def get_elsewhere(self) -> None:
        """Read it on a node that holds no shard of it and has nothing cached."""
        with self.report.step("get elsewhere") as step:
            readers = self._without_shards()
            require(readers, "every node holds a shard: start more nodes")
            reader = readers[0]
            seconds = self._read_and_compare(reader)
            step.measured["reader"] = reader.name
            step.measured["mb_s"] = self.object_bytes / 1e6 / seconds

    def kill_a_holder(self) -> None:
        """SIGKILL a machine that holds a data shard."""
        with self.report.step("SIGKILL a holder") as step:
            lines = self._detail()["shards"]
            data_holders = [s["holder"] for s in lines if s["shard"] < self.receipt["k"]]
            victim = next(
                node
                for node in self.swarm.nodes
                if node.peer in data_holders and node not in (self.submitter, self.writer)
            )
            held = sum(line["holder"] == victim.peer for line in lines)
            self.victim_peer = victim.peer
            step.measured["node"] = victim.name
            step.measured["pid"] = victim.pid
            step.measured["shards lost"] = held
            self.swarm.kill_machine(victim)

    def degraded_read(self) -> None:
        """Read at once, with the holder dead and its shards gone, on a node with an empty cache."""
        with self.report.step("degraded read") as step:
            fresh = [n for n in self.swarm.alive() if n is not self.writer]
            reader = next(n for n in fresh if n.peer not in self._readers)
            seconds = self._read_and_compare(reader)
            step.measured["reader"] = reader.name
            step.measured["mb_s"] = self.object_bytes / 1e6 / seconds

    def repair(self) -> None:
        """Wait until every segment has its shards again, on machines that live."""
        with self.report.step("repaired by itself") as step:
            n = self.receipt["n"]

            def whole() -> bool:
                detail = self._detail()
                holders = {s["holder"] for s in detail["shards"] if s["alive"]}
                return detail["shards_live"] >= n and self.victim_peer not in holders

            until(whole, within_s=40, what=f"{n}/{n} live shards without the dead node")
            moved = sum(
                node.client.get("/api/v1/status")["storage"]["bytes_repaired"]
                for node in self.swarm.alive()
            )
            require(moved > 0, "no node reports repaired bytes")
            step.measured["moved / object"] = moved / self.object_bytes

    def auction(self) -> None:
        """A task is bid for and run; the table of bids is shown."""
        with self.report.step("auctioned task") as step:
            task = self._submit({"run": ["/bin/sh", "-c", "echo swarm says hello"]})
            done = self._wait(task)
            require(done["state"] == "done", f"the task ended {done['state']}")
            out = self._log(task)
            require(out == b"swarm says hello\n", f"its output was {out[:80]!r}")
            bids = self._bids(task)
            require(len(bids) >= 3, f"only {len(bids)} bids came")
            step.measured["bids"] = len(bids)
            step.measured["winner"] = self.swarm.name_of(done["provider"])
        self._show(bids)

    def kill_the_winner(self) -> None:
        """Kill the machine that trains: the task goes on elsewhere from its checkpoint."""
        with self.report.step("winner killed, resumed") as step:
            task = self._submit_training()
            until(
                lambda: (
                    self._steps(task) >= KILL_AFTER_STEP and self._view(task)["checkpoint_step"]
                ),
                within_s=30,
                what=f"step {KILL_AFTER_STEP} and a checkpoint",
            )
            first = self.swarm.node_of(self._view(task)["provider"])
            self.swarm.kill_machine(first)
            done = self._wait(task)
            self._check_resumed(task, done, first, step)

    def clean_stop(self) -> None:
        """Stop every node; no process and no folder is left."""
        with self.report.step("clean stop") as step:
            began = time.monotonic()
            self.swarm.stop()
            left = self.swarm.leftovers()
            require(not left, f"left over: {', '.join(left)}")
            step.measured["seconds"] = time.monotonic() - began

    # -- observations ---------------------------------------------------------------------

    def _all_see_all(self) -> bool:
        want = len(self.swarm.nodes)
        for node in self.swarm.nodes:
            peers = node.client.get("/api/v1/peers")
            if sum(p["liveness"] == "alive" for p in peers) != want:
                return False
        return True

    def _timed_put(self, data: bytes) -> tuple[Document, float]:
        began = time.monotonic()
        receipt = self.writer.client.upload("/api/v1/objects?name=demo", io.BytesIO(data))
        return receipt, time.monotonic() - began

    def _detail(self) -> Document:
        path = f"/api/v1/objects/{self.receipt['address']}"
        detail: Document = self.writer.client.get(path)
        return detail

    def _without_shards(self) -> list[StageNode]:
        """Living nodes, the writer apart, that hold nothing of the object."""
        holders = {line["holder"] for line in self._detail()["shards"]}
        others = [node for node in self.swarm.alive() if node is not self.writer]
        return [node for node in others if node.peer not in holders]

    def _read_and_compare(self, reader: StageNode) -> float:
        self._readers.append(reader.peer)
        began = time.monotonic()
        digest = hashlib.sha256()
        for chunk in reader.client.download("/api/v1/objects/read", {"cap": self.receipt["cap"]}):
            digest.update(chunk)
        require(digest.hexdigest() == self.digest, "the bytes differ from what was put")
        return time.monotonic() - began

    def _submit(self, spec: Document) -> str:
        answer = self.submitter.client.call("POST", "/api/v1/tasks", spec)
        task: str = answer["task"]
        return task

    def _submit_training(self) -> str:
        source = resources.files("swarmnode.demo").joinpath("trainee.py").read_bytes()
        receipt = self.submitter.client.upload("/api/v1/objects?name=trainee", io.BytesIO(source))
        return self._submit(
            {
                "run": ["python3", "trainee.py", str(self.train_steps), str(SECONDS_PER_STEP)],
                "inputs": {"trainee.py": receipt["cap"]},
                "env": self.environment,
                "checkpoint": {"dir": "checkpoint", "every_s": 1},
            }
        )

    def _view(self, task: str) -> Document:
        view: Document = self.submitter.client.get(f"/api/v1/tasks/{task}")
        return view

    def _wait(self, task: str) -> Document:
        path = f"/api/v1/tasks/{task}/wait?timeout_s=60"
        view: Document = self.submitter.client.get(path, timeout_s=65)
        return view

    def _log(self, task: str) -> bytes:
        return b"".join(self.submitter.client.stream(f"/api/v1/tasks/{task}/logs?stream=stdout"))

    def _log_lines(self, task: str) -> list[Document]:
        return objects_in(self._log(task))

    def _steps(self, task: str) -> int:
        return max((line.get("step", 0) for line in self._log_lines(task)), default=0)

    def _bids(self, task: str) -> list[Document]:
        explained = self.submitter.client.get(f"/api/v1/tasks/{task}/explain")
        return [bid for round_ in explained["rounds"] for bid in round_["bids"]]

    def _show(self, bids: list[Document]) -> None:
        for bid in bids:
            name = self.swarm.name_of(bid["peer"])
            won = "  <- winner" if bid.get("won") else ""
            parts = " ".join(f"{key} {value}" for key, value in bid["parts"].items())
            self.report.say(
                f"      {name:<8} {bid['kind']:<8} score {bid['score']:>9} {parts}{won}"
            )

    def _check_resumed(self, task: str, done: Document, first: StageNode, step: StepResult) -> None:
        require(done["state"] == "done", f"the task ended {done['state']}")
        require(done["provider"] != first.peer, "it ended on the machine that was killed")
        lines = self._log_lines(task)
        starts = [line["first_step"] for line in lines if "first_step" in line]
        executed = sum("step" in line for line in lines)
        require(len(starts) >= 2 and starts[-1] > 0, f"it did not resume: started at {starts}")
        require(
            executed < 2 * self.train_steps, f"{executed} steps were run for {self.train_steps}"
        )
        total = next((line["total"] for line in lines if "total" in line), None)
        require(total == self.train_steps * (self.train_steps + 1) // 2, f"the result is {total}")
        step.measured["killed"] = first.name
        step.measured["finished on"] = self.swarm.name_of(done["provider"])
        step.measured["resumed at step"] = starts[-1]
        step.measured["steps run"] = f"{executed} of {self.train_steps} needed"
