"""Whatever well-formed messages say, the buyer goes on and its disk can be read back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.ids import PeerId
from p2p.wire.codec import Message, encode
from swarmnode.limits import SPEC_VALUES_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.messages import Accept, Bid, BidKind, Decline
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import Checkpointed, Phase, PreemptNotice, State
from swarmnode.tasks.records import Outcome, Usage
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import BOB, CAROL, TASK, Desk, held, result

ints = st.integers(-(2**63), 2**64 - 1) | st.integers(-2, 3)
texts = st.text(max_size=20) | st.just("x" * 5000) | st.just("\N{SNOWMAN}" * 1000)
tasks = st.sampled_from([TASK, TaskId("b" * 16)]) | texts.map(TaskId)
files = st.lists(st.builds(StoredFile, texts, ints, texts), max_size=3).map(tuple) | st.integers(
    0, 900
).map(lambda count: (StoredFile("", 0, ""),) * count)
checkpoints = st.builds(CheckpointRecord, ints, files, ints)
outcomes = st.builds(
    Outcome,
    st.sampled_from(["done", "failed", "stopped", "unfit"]) | texts,
    ints,
    texts,
    texts,
    files,
    st.builds(Usage, ints, ints, ints),
    st.lists(texts, max_size=9).map(tuple),
)
auctions = st.integers(0, 3) | ints
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Bid, auctions, ints, st.sampled_from(BidKind), ints, ints, ints, ints, texts, texts),
    st.builds(Accept, tasks, ints),
    st.builds(Decline, tasks, ints, texts),
    st.builds(State, tasks, ints, st.sampled_from(Phase), ints),
    st.builds(PreemptNotice, tasks, ints, ints),
    st.builds(Checkpointed, tasks, st.just(1) | ints, checkpoints),
)
peers = st.sampled_from([BOB, CAROL, PeerId("mallory")])


@settings(max_examples=80, deadline=None)
@given(
    given_messages=st.lists(st.tuples(peers, messages), max_size=12),
    outcome=outcomes,
    checkpoint=st.none() | checkpoints,
    retries=st.integers(0, 1),
)
def test_nothing_a_peer_says_stops_the_buyer_or_spoils_its_disk(
    given_messages: list[tuple[PeerId, Message]],
    outcome: Outcome,
    checkpoint: CheckpointRecord | None,
    retries: int,
) -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    desk.submit(TaskSpec(("x",) * (SPEC_VALUES_MAX - 10), retries=retries))
    calls = desk.calls()
    desk.hear(BOB, held(calls[BOB]))
    for peer, message in given_messages:
        if isinstance(message, Bid) and 0 <= message.auction <= 3:
            fields = [getattr(message, name) for name in message.__struct_fields__[1:]]
            message = Bid(calls[BOB] + message.auction, *fields)
        assert isinstance(message, e.BuyerMessage)
        desk.hear(peer, message)
    desk.run_for(1.5)
    for terms in desk.awards()[:1]:
        desk.hear(terms.seller, result(terms, outcome, checkpoint))
    for one in desk.sent:
        assert isinstance(one.message, Message)
        encode(one.message)
    before = desk.record()
    desk.rounds()
    desk.restart()
    assert desk.record().attempts == before.attempts
    desk.run_for(200)
    desk.record()
