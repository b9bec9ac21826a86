"""Whatever is called, cancelled, refused, cut off or out of time: nothing hangs, nothing leaks."""

from dataclasses import dataclass
from functools import partial

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.errors import CallTimeoutError, PeerUnreachableError, RefusalError, RemoteRefusalError
from p2p.host.memory.network import LinkModel
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.limits import BODY_BYTES_MAX
from p2p.wire.codec import Message
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import run_seeded

SIZES = st.sampled_from([0, 1, 5000, 300_000, 3_000_000, BODY_BYTES_MAX])
PAUSES = st.sampled_from([0.0, 0.005, 0.03, 0.3, 2.0])


class Work(Message, frozen=True, tag=240):
    """What the handler shall do before it answers."""

    pause_ms: int
    reply_len: int
    refuse: bool


class Done(Message, frozen=True, tag=241):
    """The body's length."""

    request_len: int


@dataclass(frozen=True)
class Op:
    """One call of the run, or (caller equals callee and breaks) one broken connection."""

    at_s: float
    caller: int
    callee: int
    request_len: int
    work: Work
    timeout_s: float
    cancel_after_s: float | None
    breaks: bool


OPS = st.builds(
    Op,
    at_s=st.sampled_from([0.0, 0.001, 0.02, 0.5]),
    caller=st.integers(0, 1),
    callee=st.integers(0, 1),
    request_len=SIZES,
    work=st.builds(
        Work, st.sampled_from([0, 1, 30, 400]), SIZES, st.integers(0, 4).map(lambda n: n == 0)
    ),
    timeout_s=st.sampled_from([0.001, 0.05, 1.0, 30.0]),
    cancel_after_s=st.none() | PAUSES,
    breaks=st.integers(0, 9).map(lambda n: n == 0),
)
MODELS = st.builds(
    LinkModel,
    delay_s=st.sampled_from([0.0, 0.02]),
    jitter_s=st.sampled_from([0.0, 0.05]),
    bytes_per_s=st.sampled_from([float("inf"), 5e7]),
    break_rate=st.sampled_from([0.0, 0.02]),
)


async def handle(caller: Caller, work: Work, body: bytes) -> tuple[Message, bytes]:
    await trio.sleep(work.pause_ms / 1000)
    if work.refuse:
        raise RefusalError("no", "as told")
    return Done(len(body)), bytes(work.reply_len)


async def perform(peers: Peers, ids: list[PeerId], op: Op, outcomes: list[str]) -> None:
    await trio.sleep(op.at_s)
    if op.breaks:
        peers.network.break_connection(ids[0], ids[1])
        return
    with trio.move_on_after(op.cancel_after_s if op.cancel_after_s is not None else 1e9) as scope:
        try:
            reply, body = await peers.rpcs[ids[op.caller]].call(
                ids[op.callee],
                op.work,
                Done,
                traffic_class=TrafficClass.NORMAL,
                timeout_s=op.timeout_s,
                body=bytes(op.request_len),
            )
        except (CallTimeoutError, PeerUnreachableError, RemoteRefusalError) as error:
            outcomes.append(type(error).__name__)
        else:
            assert (reply.request_len, len(body)) == (op.request_len, op.work.reply_len)
            outcomes.append("answered")
    if scope.cancelled_caught:
        outcomes.append("cancelled")


async def run(ops: list[Op], model: LinkModel) -> list[str]:
    outcomes: list[str] = []
    async with rpc_peers(["alice", "bob"], model) as peers:
        ids = list(peers.rpcs)
        for rpc in peers.rpcs.values():
            rpc.serve(Work, handle, lambda work, _: work.reply_len)
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                for op in ops:
                    nursery.start_soon(perform, peers, ids, op, outcomes)
        await trio.sleep(60)
        for rpc in peers.rpcs.values():
            stats = rpc.stats()
            assert (stats.calls_out, stats.calls_in) == (0, 0)
            assert (stats.body_bytes_held, stats.credit_bytes_out) == (0, 0)
    assert len(outcomes) == sum(not op.breaks for op in ops)
    return outcomes


@settings(max_examples=60, deadline=None)
@given(ops=st.lists(OPS, max_size=14), model=MODELS, seed=st.integers(0, 1000))
def test_no_mix_of_calls_hangs_or_leaks(ops: list[Op], model: LinkModel, seed: int) -> None:
    run_seeded(seed, partial(run, ops, model))


@given(ops=st.lists(OPS, max_size=6), model=MODELS)
@settings(max_examples=10, deadline=None)
def test_the_same_seed_gives_the_same_outcomes(ops: list[Op], model: LinkModel) -> None:
    assert run_seeded(5, partial(run, ops, model)) == run_seeded(5, partial(run, ops, model))
