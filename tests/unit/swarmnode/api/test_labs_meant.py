"""Which labs a task's secrets may go to, when they are said by name."""

import pytest

from p2p.identity.keys import peer_id_of
from swarmnode.api.machines_meant import with_lab_ids
from swarmnode.api.schema.node import PeerLine
from swarmnode.errors import SpecError
from swarmnode.tasks.spec import TaskSpec

ONE, OTHER = (peer_id_of(bytes([number]) * 32) for number in (1, 2))


def machine(name: str, lab: str) -> PeerLine:
    return PeerLine(name, name, lab, "", "alive", False, True, None, (), lab_name="bio")


def test_a_name_that_one_lab_has_is_that_lab_and_of_two_each_is_told_with_a_machine() -> None:
    spec = TaskSpec(("true",), secret_to=("bio",))
    assert with_lab_ids(spec, [machine("box", ONE)]).secret_to == (ONE,)
    both = [machine("box", ONE), machine("gpu1", OTHER)]
    with pytest.raises(SpecError) as refused:
        with_lab_ids(spec, both)
    assert f"{ONE} (of box)" in str(refused.value)
    assert f"{OTHER} (of gpu1)" in str(refused.value)
    assert with_lab_ids(TaskSpec(("true",), secret_to=(OTHER,)), both).secret_to == (OTHER,)
