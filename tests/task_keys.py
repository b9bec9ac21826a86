"""A task's key, and what an award hands to its provider: for tests without a submitter."""

from p2p.ids import NetworkId, PeerId
from p2p.wire.envelope import Signed
from storage.records.names.rights import grant_names
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import state_key_of, task_id_of
from testnet.sim.signer import KeyedHashSigner

SEED = b"a task's secret seed, 32 bytes.."
KEY = KeyedHashSigner(PeerId("any")).from_seed(SEED)
OWN_TASK: TaskId = task_id_of(KEY.peer_id)
"""The id of the task whose key this is."""
STATE_KEY = state_key_of(SEED)
_NETWORK = NetworkId("testnet")


def grant_for(machine: PeerId, fence: int, network: NetworkId = _NETWORK) -> Signed:
    """Let a machine write the task's names."""
    return grant_names(KEY, network, machine, fence, 0)
