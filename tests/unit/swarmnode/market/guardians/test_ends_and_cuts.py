"""A guardian that acts: when it may give a receipt, and how soon it acts after a cut."""

import heapq
import random
from itertools import count

import msgspec
import pytest

from p2p.effects import Notify, Send, WakeAt
from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from p2p.wire.envelope import seal
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.config import GuardianConfig
from swarmnode.market.guardians.core import Keeper
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.messages import (
    ComeHome,
    GuardBeat,
    GuardHeard,
    GuardLine,
    KeeperMessage,
)
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import RESULT_DOMAIN, Result, ResultReceipt, ResultTerms
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.signer import KeyedHashSigner
from tests.buyer_lab import NETWORK

SUBMITTER, G1, G2, PROVIDER = map(PeerId, ("submitter", "g1", "g2", "provider"))
KEY = b"k" * 32
FAR_MS = 2**60


def receipts(effects: list[e.Effect]) -> int:
    return sum(isinstance(one, Send) and isinstance(one.message, ResultReceipt) for one in effects)


def test_there_is_no_receipt_before_another_keeper_has_the_end() -> None:
    signer = KeyedHashSigner(G1)
    task = task_id_of(signer.from_seed(KEY).peer_id)
    attempts = (AttemptRecord(1, PROVIDER, 1000),)
    spec = TaskSpec(("true",))
    known = TaskRecord(task, spec, 1000, TaskState.RUNNING, 1, PROVIDER, attempts, key=KEY)
    record = GuardRecord(task, SUBMITTER, 2, 5, G1, (SUBMITTER, G1, G2), (), known)
    buyer = Buyer(BuyerConfig(), signer, NETWORK, random.Random(1), lambda: 1_700_000_000_000)
    for peer in (SUBMITTER, G1, G2, PROVIDER):
        buyer.handle(e.MemberStands(peer, Liveness.ALIVE, LabId("lab")), 100.0)
    ours = msgspec.structs.replace(known, submitter=SUBMITTER)
    buyer.handle(e.TasksLoaded([ours], [record]), 100.0)

    def others_hold(now_s: float) -> None:
        beats = [
            one.message.number
            for one in buyer.handle(g.GuardTick(), now_s)
            if isinstance(one, Send) and isinstance(one.message, GuardBeat)
        ]
        now = buyer.custody.find(task)
        assert now is not None
        heard = GuardHeard(beats[0], (GuardLine(task, *now.version),))
        for peer in (SUBMITTER, G2):
            buyer.handle(e.MessageHeard(peer, heard), now_s)

    others_hold(105.0)
    terms = ResultTerms(task, 1, G1, Outcome("done", 0, "exit"), None)
    provider = KeyedHashSigner(PROVIDER)
    sealed = seal(provider, NETWORK, RESULT_DOMAIN, terms, sequence=1, expires_ms=FAR_MS)
    result = e.MessageHeard(PROVIDER, Result(sealed))
    assert receipts(buyer.handle(result, 106.0)) == 0
    assert receipts(buyer.handle(result, 106.5)) == 0, "nobody else has it yet"
    others_hold(110.0)
    assert receipts(buyer.handle(result, 111.0)) == 1


@pytest.mark.parametrize("cut_s", [30, 120, 300, 900, 2000])
def test_after_a_cut_one_of_two_guardians_acts_within_seconds(cut_s: int) -> None:
    def nowhere(_record: TaskRecord) -> ComeHome:
        raise AssertionError

    task = TaskId("a" * 16)
    known = TaskRecord(task, TaskSpec(("true",)), 1000)
    record = GuardRecord(task, SUBMITTER, 1, 1, SUBMITTER, (SUBMITTER, G1, G2), (), known)
    cores = {
        peer: Keeper(GuardianConfig(), peer, lambda _task: None, lambda _r, _p: None, nowhere)
        for peer in (G1, G2)
    }
    numbers, due = count(), list[tuple[float, int, PeerId, PeerId | None, object]]()

    def later(at_s: float, who: PeerId, what: object, by: PeerId | None = None) -> None:
        heapq.heappush(due, (at_s, next(numbers), who, by, what))

    def perform(who: PeerId, effects: list[g.Effect], now_s: float) -> None:
        for effect in effects:
            match effect:
                case WakeAt(at_s, timer):
                    later(at_s, who, timer)
                case Send(peer, message) if peer in cores and now_s >= cut_s:
                    later(now_s + 0.05, peer, message, who)
                case Notify(g.Carry(peer, carried)) if peer in cores and now_s >= cut_s:
                    later(now_s + 0.05, peer, g.KeepHeard(who, carried))

    for who, core in cores.items():
        for peer in (SUBMITTER, G1, G2):
            core.handle(g.KeeperStands(peer, Liveness.ALIVE, LabId("lab")), 0.0)
        perform(who, core.handle(g.GuardsLoaded((record,)), 0.0), 0.0)
        other = G2 if who == G1 else G1
        for peer in (SUBMITTER, other):
            later(15.0, who, g.KeeperStands(peer, Liveness.DEAD, LabId("lab")))
        later(cut_s, who, g.KeeperStands(other, Liveness.ALIVE, LabId("lab")))
    now_s = 0.0
    while not any(core.custody.post_of(task) is Post.ACTS for core in cores.values()):
        now_s, _, who, by, what = heapq.heappop(due)
        assert now_s < cut_s + 30, "nobody acts"
        if isinstance(what, KeeperMessage):
            assert by is not None
            perform(who, cores[who].hear(by, what, now_s), now_s)
        else:
            assert isinstance(what, g.Event)
            perform(who, cores[who].handle(what, now_s), now_s)
    assert now_s >= cut_s
