"""The rules of mutable names, whatever the order of messages."""

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.ids import NetworkId, PeerId
from p2p.wire.envelope import Signed
from storage.records.names.core import (
    NOTHING,
    Holders,
    NamePool,
    Poll,
    accept,
    holders_of,
    name_key,
    promise,
)
from storage.records.names.messages import NAME_DOMAIN, Ballot, NameHeld, NameState

PEERS = [PeerId(f"peer{number}") for number in range(12)]
ballots = st.builds(
    Ballot,
    st.integers(0, 3),
    st.integers(0, 5),
    st.sampled_from(PEERS[:3]),
    st.integers(0, 1),
)


def record(text: str) -> Signed:
    return Signed(1, NetworkId("n"), NAME_DOMAIN, PEERS[0], 1, 0, text.encode())


@given(st.lists(st.tuples(st.booleans(), ballots)))
def test_a_holder_never_goes_back_to_a_lower_ballot_or_fence(
    requests: list[tuple[bool, Ballot]],
) -> None:
    state = NOTHING
    for is_accept, ballot in requests:
        proposal = NameState(None, ballot, record(repr(ballot)))
        after = accept(state, proposal) if is_accept else promise(state, ballot)
        if after is None:
            assert state.promised is not None
            assert ballot < state.promised
            continue
        assert after.promised == ballot
        assert state.promised is None or after.promised >= state.promised
        assert after.accepted is None or after.accepted <= ballot
        state = after


@given(st.integers(1, 12), st.integers(0, 50))
def test_a_quorum_meets_every_majority_and_survives_as_many_losses(count: int, salt: int) -> None:
    holders = holders_of(name_key("", f"name{salt}"), PEERS[:count])
    assert len(holders.voters) % 2 == 1
    assert len(holders.voters) <= 7
    assert holders.quorum + holders.majority > len(holders.asked)
    assert len(holders.asked) - holders.quorum == holders.majority - 1
    assert set(holders.voters) <= set(holders.asked) <= set(PEERS[:count])


@given(st.integers(1, 11), st.integers(0, 50))
def test_a_newcomer_moves_at_most_one_voter(count: int, salt: int) -> None:
    key = name_key("", f"name{salt}")
    before, after = holders_of(key, PEERS[:count]), holders_of(key, PEERS[: count + 1])
    assert len(set(before.voters) - set(after.voters)) <= 1


@given(st.integers(1, 12), st.sets(st.integers(0, 11)), st.integers(0, 50))
def test_who_gives_the_dead_up_and_who_does_not_yet_meet_in_every_decision(
    count: int, numbers: set[int], salt: int
) -> None:
    """Of the living: the dead answer nobody. What one decided, no quorum of the other misses."""
    key, members = name_key("", f"name{salt}"), tuple(PEERS[:count])
    dead = frozenset(PEERS[number] for number in numbers if number < count)
    patient, hasty = NamePool(members).holders(key), NamePool(members, dead, dead).holders(key)
    if 2 * len(dead) >= count:
        return  # nobody may be given up
    for decides, asks in ((patient, hasty), (hasty, patient)):
        living = set(asks.asked) - dead
        deciding = set(decides.voters) - dead
        silent = len(living) - asks.quorum
        if silent < 0 or len(deciding) < decides.majority:
            continue
        apart = len(deciding - living)
        assert decides.majority - apart > silent


@settings(max_examples=1000)
@given(st.integers(2, 12), st.randoms(use_true_random=False), st.integers(0, 50))
def test_what_may_be_missed_when_some_of_the_dead_return_is_waited_for(
    count: int, rng: random.Random, salt: int
) -> None:
    key, members = name_key("", f"name{salt}"), tuple(PEERS[:count])
    dead = frozenset(rng.sample(members, rng.randint(0, (count - 1) // 2)))
    returned = frozenset(rng.sample(sorted(dead), rng.randint(0, len(dead))))
    left = dead - returned
    before = NamePool(members, dead, dead).holders(key)
    pool = NamePool(members, left, left)
    asks = pool.holders(key)
    deciding, answering = set(before.voters) - dead, set(asks.asked) - left
    if len(deciding) < before.majority or len(answering) < asks.quorum:
        return
    copies = set(before.asked) - dead
    votes_heard = before.majority - len(deciding - answering)
    heard = max(0, votes_heard, before.kept_at - len(copies - answering))
    if len(answering) - heard >= asks.quorum:
        assert pool.may_miss(key, returned)
    assert not pool.may_miss(key, frozenset())


class _Register:
    """Proposers and holders whose messages arrive in any order, twice or never."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self.holders: Holders = holders_of(name_key("", "n"), PEERS[:count])
        self.states = dict.fromkeys(self.holders.asked, NOTHING)
        self.rng = rng
        self.counter = 0
        self.mail: list[tuple[PeerId, NameState]] = []
        self.accepted: dict[Ballot, set[PeerId]] = {}
        self.values: dict[Ballot, Signed] = {}

    def propose(self, fence: int) -> None:
        """Prepare at some, then queue accepts for all if a quorum promised."""
        self.counter += self.rng.randrange(0, 2)
        ballot = Ballot(fence, self.counter, PEERS[0], self.rng.getrandbits(32))
        poll = Poll(b"key", self.holders)
        for peer in self.holders.asked:
            if self.rng.random() < 0.8:
                after = promise(self.states[peer], ballot)
                if after is not None:
                    self.states[peer] = after
                    poll.answers[peer] = NameHeld(True, after)
        if poll.has_quorum:
            sealed = poll.newest.sealed if self.rng.random() < 0.2 else None
            base = poll.newest.sealed.payload if poll.newest.sealed is not None else b""
            sealed = sealed or record(f"{base.decode()}/{ballot.nonce}")
            self.values[ballot] = sealed
            for peer in self.holders.asked:
                self.mail.append((peer, NameState(None, ballot, sealed)))

    def deliver(self) -> None:
        """One accept arrives; sometimes it stays in the mail and arrives again."""
        peer, proposal = self.rng.choice(self.mail)
        if self.rng.random() < 0.8:
            self.mail.remove((peer, proposal))
        after = accept(self.states[peer], proposal)
        if after is not None:
            assert proposal.accepted is not None
            self.states[peer] = after
            self.accepted.setdefault(proposal.accepted, set()).add(peer)

    def chosen(self) -> list[Ballot]:
        """Ballots a majority of the voters has accepted, lowest first."""
        voters = set(self.holders.voters)
        return sorted(
            ballot
            for ballot, peers in self.accepted.items()
            if len(peers & voters) >= self.holders.majority
        )


@settings(max_examples=300)
@given(st.integers(1, 9), st.integers(0, 1 << 30))
def test_every_decided_value_descends_from_the_one_decided_before(count: int, seed: int) -> None:
    rng = random.Random(seed)
    register = _Register(count, rng)
    for _ in range(80):
        if register.mail and rng.random() < 0.8:
            register.deliver()
        else:
            register.propose(fence=rng.randrange(0, 3))
    chain = [register.values[ballot].payload for ballot in register.chosen()]
    for earlier, later in pairwise(chain):
        assert later.startswith(earlier)
