"""A task whose newest checkpoint makes it fail goes on from the one before."""

from tests.integration.swarm_lab import log, submit, swarm_of, wait

TRAIN = """
cd checkpoint 2>/dev/null || mkdir checkpoint && cd checkpoint
if [ -e step-2/bad ]; then echo bad; exit 1; fi
if [ -e step-1/good ]; then echo good; exit 0; fi
mkdir .tmp-1 .tmp-2; touch .tmp-1/good .tmp-2/bad
mv .tmp-1 step-1; sleep 4; mv .tmp-2 step-2; sleep 3
echo crash; exit 1
"""


def test_a_task_that_fails_of_its_newest_checkpoint_goes_on_from_the_one_before() -> None:
    with swarm_of(1) as swarm:
        (node,) = swarm.nodes
        spec = {"run": ["/bin/sh", "-c", TRAIN], "retries": 5}
        task = submit(node, spec | {"checkpoint": {"dir": "checkpoint", "every_s": "100ms"}})
        done = wait(node, task)
        assert done["state"] == "done", done["why"]
        assert [one["restored_step"] for one in done["history"]] == [0, 2, 2, 1]
        assert "the next is from step 1" in done["history"][2]["detail"]
        assert log(node, task).split() == [b"crash", b"bad", b"bad", b"good"]
