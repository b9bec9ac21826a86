"""What Mallory tries with tasks of others: as a buyer, a provider, a keeper, an owner."""

from collections.abc import Callable

from msgspec.structs import replace

from p2p.ids import PeerId
from p2p.wire.codec import Message, encode
from p2p.wire.envelope import seal
from swarmnode.market.guardians.messages import (
    CLAIM_DOMAIN,
    HOME_DOMAIN,
    TASK_ORDER_DOMAIN,
    AskVote,
    Claim,
    ClaimTerms,
    ComeHome,
    CopyLog,
    FindTask,
    GuardBeat,
    GuardHeard,
    GuardLine,
    HomeTerms,
    KeepTaken,
    KeepTask,
    KeptLog,
    KeptTold,
    LogCopied,
    ReadKept,
    ReadKeptLog,
    Relieve,
    TaskFound,
    TaskOrder,
    Vote,
)
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.messages import (
    AWARD_DOMAIN,
    Accept,
    Award,
    AwardTerms,
    Bid,
    BidKind,
    Decline,
    Release,
)
from swarmnode.market.messages import CallForBids as AskForBids
from swarmnode.market.secrets.messages import AskSecrets, ReadSecrets, SecretsGiven, SecretsTold
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    RESULT_DOMAIN,
    AskFiles,
    CancelJob,
    Checkpointed,
    FilesTold,
    GiveSignal,
    LogTaken,
    Phase,
    PreemptNotice,
    PushLog,
    Query,
    ReceiptTerms,
    Renew,
    Result,
    ResultReceipt,
    ResultTerms,
    SignalGiven,
    State,
)
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.secrets.box import OneTimeKey
from swarmnode.tasks.spec import PriorityClass, TaskSpec
from testnet.sim.clock import START_MS
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import NETWORK
from tests.security.who_may.scene import FAR_MS, MALLORY, ROWS, SHAPE, Act, Scene, row


@row("told")
async def award_of_anothers_task(scene: Scene) -> object:
    ask = AskForBids(1, SHAPE, "", (), PriorityClass.BATCH, 5, 3000)
    await scene.tell(ask, scene.provider)
    assert scene.bids, "no room was held for her"
    for bid in scene.bids:
        spec = TaskSpec(("true",), shape=SHAPE)
        what = AwardTerms(scene.task, 1 << 50, scene.provider, bid.bid, spec)
        await scene.tell(Award(scene.seal(AWARD_DOMAIN, what)), scene.provider)
    assert [one.reason for one in scene.declined] == ["stale"] * len(scene.bids)
    return "told"


@row("told")
async def release_of_anothers_room(scene: Scene) -> object:
    return await scene.tell(Release(1), scene.provider)


def as_buyer(message: Callable[[Scene], Message]) -> Act:
    async def act(scene: Scene) -> object:
        return await scene.tell(message(scene), scene.provider)

    return act


def as_seller(message: Callable[[Scene], Message]) -> Act:
    async def act(scene: Scene) -> object:
        return await scene.tell(message(scene))

    return act


_DONE = Outcome("done", 0, "exit")
_KEY = OneTimeKey().public
_STEP = CheckpointRecord(99, (), START_MS)
_SAID: dict[str, Act] = {
    "cancel": as_buyer(lambda s: CancelJob(s.task, s.fence, "mine")),
    "cancel of a newer attempt": as_buyer(lambda s: CancelJob(s.task, s.fence + 9, "mine")),
    "renew": as_buyer(lambda s: Renew(s.task, s.fence, 99)),
    "query": as_buyer(lambda s: Query(s.task, s.fence)),
    "receipt": as_buyer(
        lambda s: ResultReceipt(s.seal(RECEIPT_DOMAIN, ReceiptTerms(s.task, s.fence, s.provider)))
    ),
    "bid": as_seller(lambda s: Bid(1, 1, BidKind.HELD, hold_ms=3000)),
    "accept": as_seller(lambda s: Accept(s.task, s.fence)),
    "decline": as_seller(lambda s: Decline(s.task, s.fence, "stale")),
    "result": as_seller(
        lambda s: Result(s.seal(RESULT_DOMAIN, ResultTerms(s.task, s.fence, s.victim, _DONE)))
    ),
    "state": as_seller(lambda s: State(s.task, s.fence, Phase.UNKNOWN)),
    "notice": as_seller(lambda s: PreemptNotice(s.task, s.fence, 1)),
    "beat of a higher term": as_seller(
        lambda s: GuardBeat(1, (GuardLine(s.task, 1 << 60, 1), GuardLine(s.task, 99, 1)))
    ),
    "answer of a higher term": as_seller(
        lambda s: GuardHeard(0, (GuardLine(s.task, 1 << 60, 1), GuardLine(s.task, 99, 1)))
    ),
    "call for votes": as_seller(lambda s: AskVote(s.task, 99, 99, 99)),
    "vote": as_seller(lambda s: Vote(s.task, 99, granted=False, known_term=99)),
    "relief": as_seller(lambda s: Relieve(s.task, is_over=True)),
    "claim with another key": as_buyer(
        lambda s: Claim(s.seal(CLAIM_DOMAIN, ClaimTerms(s.task, s.fence, MALLORY, 99)))
    ),
    "homecoming with another key": as_seller(
        lambda s: ComeHome(s.seal(HOME_DOMAIN, HomeTerms(s.task, MALLORY)))
    ),
    "checkpoint": as_seller(lambda s: Checkpointed(s.task, s.fence, _STEP)),
}
for _name, _act in _SAID.items():
    ROWS[f"{_name} of anothers task"] = (_act, "told", "told")


@row("malformed")
async def keeping_a_task_without_its_key(scene: Scene) -> object:
    known = TaskRecord(scene.task, TaskSpec(("true",)), START_MS, key=bytes(32))
    record = GuardRecord(scene.task, scene.victim, 99, 1, MALLORY, (MALLORY,), (), known)
    return await scene.ask(KeepTask(scene.task), KeepTaken, encode(record))


@row("unknown")
async def log_that_a_guardian_keeps(scene: Scene) -> object:
    return await scene.ask(ReadKeptLog(scene.task, "stdout", 0, 0), KeptLog)


@row("unknown")
async def looking_at_anothers_task(scene: Scene) -> object:
    return await scene.ask(FindTask(scene.task), TaskFound)


@row("unknown")
async def reading_what_is_kept_for_anothers_machine(scene: Scene) -> object:
    return await scene.ask(ReadKept(scene.victim, TaskId("")), KeptTold, to=scene.guardian)


@row("unknown")
async def cancelling_anothers_task_at_its_submitter(scene: Scene) -> object:
    return await scene.ask(FindTask(scene.task, cancel=True), TaskFound)


@row("unknown")
async def removing_anothers_task(scene: Scene) -> object:
    return await scene.ask(FindTask(scene.task, forget=True), TaskFound)


@row("unknown")
async def cancelling_anothers_task_at_a_guardian(scene: Scene) -> object:
    return await scene.ask(FindTask(scene.task, cancel=True), TaskFound, to=scene.guardian)


def task_order(scene: Scene, key: str, machine: PeerId, expires_ms: int = FAR_MS) -> FindTask:
    """As the key of a lab would have it."""
    signer = KeyedHashSigner(PeerId(key), scene.world.seed)
    terms = TaskOrder(scene.task, machine, "mine")
    sealed = seal(signer, NETWORK, TASK_ORDER_DOMAIN, terms, sequence=0, expires_ms=expires_ms)
    return FindTask(scene.task, cancel=True, order=sealed)


@row("unknown")
async def cancelling_by_the_key_of_another_lab(scene: Scene) -> object:
    return await scene.ask(task_order(scene, "elsewhere", MALLORY), TaskFound)


@row("not-yours")
async def cancelling_by_an_order_given_to_another(scene: Scene) -> object:
    return await scene.ask(task_order(scene, "lab-0", scene.guardian), TaskFound)


@row("not-yours")
async def cancelling_by_an_order_that_has_expired(scene: Scene) -> object:
    late = task_order(scene, "lab-0", MALLORY, START_MS - 600_000)
    return await scene.ask(late, TaskFound)


@row("malformed")
async def cancelling_by_an_order_that_somebody_else_signed(scene: Scene) -> object:
    real = task_order(scene, "lab-0", MALLORY)
    assert real.order is not None
    forged = replace(real.order, signature=bytes(len(real.order.signature)))
    return await scene.ask(replace(real, order=forged), TaskFound)


@row("stale")
async def log_of_anothers_task(scene: Scene) -> object:
    return await scene.ask(PushLog(scene.task, scene.fence, "stdout", 0), LogTaken, b"lies")


@row("unknown")
async def signal_to_anothers_task(scene: Scene) -> object:
    asked = GiveSignal(scene.task, scene.fence, "INT")
    return await scene.ask(asked, SignalGiven, to=scene.provider)


@row("unknown")
async def files_of_anothers_task(scene: Scene) -> object:
    return await scene.ask(AskFiles(scene.task, scene.fence), FilesTold, to=scene.provider)


@row("stale")
async def secrets_of_an_attempt_of_anothers(scene: Scene) -> object:
    return await scene.ask(AskSecrets(scene.task, scene.fence, _KEY), SecretsGiven)


@row("busy")
async def secrets_of_a_task_at_who_does_not_act_for_it(scene: Scene) -> object:
    asked = AskSecrets(scene.task, scene.fence, _KEY)
    return await scene.ask(asked, SecretsGiven, to=scene.guardian)


@row("unknown")
async def secrets_of_anothers_task_at_its_submitter(scene: Scene) -> object:
    return await scene.ask(ReadSecrets(scene.task), SecretsTold)


@row("unknown")
async def secrets_of_anothers_task_at_a_guardian(scene: Scene) -> object:
    return await scene.ask(ReadSecrets(scene.task), SecretsTold, to=scene.guardian)


@row("stale")
async def copy_of_a_log_of_anothers_task(scene: Scene) -> object:
    piece = CopyLog(scene.task, "stdout", scene.fence, 0)
    return await scene.ask(piece, LogCopied, b"lies", to=scene.guardian)
