"""What attempts that failed have left goes when a later one stands; their logs stay."""

from swarmnode.demo.report import until
from tests.integration.swarm_lab import log, submit, swarm_of, wait

TRY = "echo attempt $SWARM_ATTEMPT; echo $SWARM_ATTEMPT > out.txt; [ $SWARM_ATTEMPT -ge 3 ]"


def test_outputs_of_failed_attempts_are_freed_when_a_later_one_stands() -> None:
    with swarm_of(1) as swarm:
        (node,) = swarm.nodes
        spec = {"run": ["/bin/sh", "-c", TRY], "outputs": ["out.txt"], "retries": 5}
        task = submit(node, spec)
        seen: set[str] = set()

        def names() -> list[str]:
            found = [one["name"] for one in node.client.get("/api/v1/objects")]
            seen.update(found)
            return found

        until(lambda: any(one.startswith("attempt/") for one in names()), within_s=20, what="kept")
        done = wait(node, task)
        assert (done["state"], len(done["outputs"])) == ("done", 1)
        until(lambda: names() == [f"output/{task}/out.txt"], within_s=10, what="one is left")
        assert f"attempt/{task}/1/out.txt" in seen
        cap = {"cap": done["outputs"][0]["cap"]}
        assert b"".join(node.client.download("/api/v1/objects/read", cap)) == b"3\n"
        assert log(node, task).split() == b"attempt 1 attempt 2 attempt 3".split()
