"""The admission exchange between two machines, over a stream without any buffer."""

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import AdmissionError
from p2p.host.admission.exchange import OpenNetworkAdmission, TokenAdmission
from p2p.host.admission.frames import ask_removals
from p2p.host.admission.messages import Hello, Refusal, Welcome
from p2p.identity.admission import Anchor
from p2p.identity.issue import DAY_MS, Grant, Keys, Names, accept, found
from p2p.identity.issue import invite as certify_invite
from p2p.identity.keys import network_id_of
from p2p.identity.records import MembershipToken
from p2p.ids import LabId, NetworkId
from p2p.limits import ADMISSION_TRIES_BURST, CLOCK_SKEW_MAX_MS, REFUSAL_CHARS_MAX
from p2p.wire.codec import decode, encode
from p2p.wire.envelope import WIRE_VERSION
from tests.admission_lab import (
    ALICE,
    ALICES,
    ANCHOR,
    BOB,
    BOBS,
    FOUNDER,
    INVITED,
    NOW,
    admission,
    answer,
    entry,
    hello,
    key,
    meet,
    pipes,
    removal,
)


async def test_two_machines_of_a_network_learn_who_the_other_is() -> None:
    alice, bob = admission(ALICE, ALICES), admission(BOB, BOBS)
    assert (await meet(bob, alice))[:2] == (None, None)
    at_alice, at_bob = alice.book.admitted(BOB.peer_id), bob.book.admitted(ALICE.peer_id)
    assert at_alice is not None
    assert at_bob is not None
    assert (at_alice.name, at_alice.person_name, at_alice.lab_name) == ("beta", "bo", "physics")
    assert (at_bob.name, at_bob.person_name) == ("alpha", "ann")
    assert alice.book.admitted(ALICE.peer_id) == alice.me


async def test_a_machine_of_another_network_is_refused_on_both_ends_and_learns_nothing() -> None:
    root = key("elsewhere")
    anchor = Anchor(network_id_of(root.peer_id), root.peer_id)
    keys = Keys(key("carol"), key("c"), key("lab"), root)
    stranger = TokenAdmission(
        keys.machine, found(anchor, keys, Names("c", "c", "l"), NOW), anchor, lambda: NOW
    )
    near, far, pipe = await meet(stranger, admission(ALICE, ALICES))
    assert (near, far) == ("network", "network")
    assert [type(decode(frame)) for frame in pipe.seen] == [Refusal]
    assert ANCHOR.network.encode() not in pipe.seen[0]


async def test_the_dialler_refuses_too_and_both_know() -> None:
    alice, bob = admission(ALICE, ALICES), admission(BOB, BOBS)
    choosy = TokenAdmission(
        BOB, BOBS, ANCHOR, lambda: NOW, revoked=lambda: frozenset({ALICE.peer_id})
    )
    assert (await meet(choosy, alice))[:2] == ("revoked", "revoked")
    assert alice.book.admitted(BOB.peer_id) is None
    assert (await meet(bob, alice))[:2] == (None, None)


async def test_a_stolen_token_admits_nobody_else() -> None:
    error, said = await answer(admission(ALICE, ALICES), key("thief").peer_id, encode(hello()))
    assert error.code == "signature"
    assert [type(one) for one in said] == [Refusal]


async def test_a_clock_that_is_a_day_off_is_named_and_an_ended_token_as_well() -> None:
    end_ms = NOW + 30 * DAY_MS
    alice = admission(ALICE, ALICES, lambda: end_ms + DAY_MS)
    error, _ = await answer(alice, BOB.peer_id, encode(hello(wall_ms=end_ms - 1)))
    assert error.code == "clock"
    error, _ = await answer(alice, BOB.peer_id, encode(hello(wall_ms=end_ms + DAY_MS)))
    assert error.code == "expired"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "malformed"),
        (b"\xff" * 100, "malformed"),
        (encode(Welcome()), "malformed"),
        (encode(Hello(WIRE_VERSION + 1, ANCHOR.network, NOW, b"")), "version"),
        (encode(Hello(WIRE_VERSION, NetworkId("other"), NOW, b"")), "network"),
        (encode(Hello(WIRE_VERSION, ANCHOR.network, NOW, b"junk")), "malformed"),
        (encode(Hello(WIRE_VERSION, ANCHOR.network, NOW, b"a" * 60_000)), "malformed"),
    ],
)
async def test_a_wrong_first_frame_is_refused_with_its_code(frame: bytes, code: str) -> None:
    error, said = await answer(admission(ALICE, ALICES), BOB.peer_id, frame)
    assert error.code == code
    assert isinstance(said[0], Refusal)
    assert said[0].code == code


async def test_the_words_of_who_refuses_while_removals_are_told_are_harmless_too() -> None:
    near, far = pipes()

    async def refuse() -> None:
        await far.receive()
        await far.send(encode(Refusal("\x1b[2J", "no\n")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(AdmissionError) as caught:
            await ask_removals(admission(ALICE, ALICES).book.register, near, lambda: NOW)
    assert str(caught.value) == "no (malformed)"


async def test_a_peer_that_does_not_welcome_us_is_not_admitted() -> None:
    alice = admission(ALICE, ALICES)
    refusal = Refusal("revoked", "\x1b[2Jno\n" + "x" * 1000)
    error, said = await answer(alice, BOB.peer_id, encode(hello()), encode(refusal))
    assert error.code == "revoked"
    assert "\x1b" not in error.detail
    assert len(error.detail) < REFUSAL_CHARS_MAX + 100
    assert isinstance(said[0], Hello)
    error, _ = await answer(alice, BOB.peer_id, encode(hello()))
    assert "link ended" in error.detail
    assert alice.book.admitted(BOB.peer_id) is None


async def test_whoever_asks_too_often_is_told_to_wait_before_anything_is_verified(
    autojump_clock: trio.testing.MockClock,
) -> None:
    alice = admission(ALICE, ALICES)
    junk = encode(Hello(WIRE_VERSION, ANCHOR.network, NOW, b"junk"))
    codes = [(await answer(alice, BOB.peer_id, junk))[0].code for _ in range(12)]
    assert codes == ["malformed"] * ADMISSION_TRIES_BURST + ["busy"] * 2
    assert (await meet(admission(key("x"), x_token()), alice))[:2] == (None, None)
    await trio.sleep(2.0)
    assert (await meet(admission(BOB, BOBS), alice))[:2] == (None, None)


def x_token() -> MembershipToken:
    chain = certify_invite(ANCHOR, FOUNDER, ALICES, Grant(), key("ix"), NOW)
    return accept(ANCHOR, chain, key("ix"), Keys(key("x"), key("xo")), Names("x", "x", ""), NOW)


async def test_in_an_open_network_a_machine_speaks_for_itself() -> None:
    near = OpenNetworkAdmission(ALICE, ANCHOR, lambda: NOW, name="a", site="here")
    far = OpenNetworkAdmission(BOB, ANCHOR, lambda: NOW, name="b", roles=("relay",))
    assert (await meet(near, far))[:2] == (None, None)
    seen = near.book.admitted(BOB.peer_id)
    assert seen is not None
    assert (seen.name, seen.roles, seen.lab) == ("b", ("relay",), LabId(BOB.peer_id))
    assert (await meet(near, admission(ALICE, ALICES)))[1] == "signature"


def test_our_own_bad_token_is_noticed_before_anybody_is_dialled() -> None:
    with pytest.raises(AdmissionError):
        admission(BOB, ALICES)


async def test_whoever_has_another_time_than_most_is_no_witness_of_a_first_use() -> None:
    alice, bob = admission(ALICE, ALICES), admission(BOB, BOBS)
    for number in range(3):
        alice.book.enter(replace(entry(number), skew_ms=2 * CLOCK_SKEW_MAX_MS))
    assert (await meet(bob, alice))[:2] == (None, None)
    assert alice.book.register.uses.keys() == []
    for number in range(3):
        alice.book.enter(replace(entry(number), skew_ms=CLOCK_SKEW_MAX_MS // 2))
    assert (await meet(bob, alice))[:2] == (None, None)
    assert len(alice.book.register.uses.keys()) == 1


async def test_who_was_removed_is_refused_by_name_and_date() -> None:
    alice, bob = admission(ALICE, ALICES), admission(BOB, BOBS)
    alice.book.register.take(removal(bob.me.person, "bo"), NOW)
    near, far, pipe = await meet(bob, alice)
    assert (near, far) == ("revoked", "revoked")
    said = decode(pipe.seen[-1])
    assert isinstance(said, Refusal)
    assert said.detail == "bo was removed by physics on 2027-01-15 08:00 UTC"


@pytest.mark.parametrize("knows", ["dialler", "dialled", "both, others"])
async def test_removals_are_told_before_anything_else_is_served(knows: str) -> None:
    alice, bob = admission(ALICE, ALICES), admission(BOB, BOBS)
    registers = [bob.book.register, alice.book.register]
    for number in range(40):  # more than fit into one frame
        for side, register in enumerate(registers):
            if knows == ("dialler", "dialled")[side] or (number % 2 == side and "both" in knows):
                register.take(removal(f"member-{number}", "m"), NOW)
    assert (await meet(bob, alice))[:2] == (None, None)
    assert len(registers[0].removals.keys()) == 40
    assert registers[0].removals.digest() == registers[1].removals.digest()


async def test_a_peer_that_brings_its_own_removal_is_not_let_in() -> None:
    alice, bob = admission(ALICE, ALICES), admission(BOB, BOBS)
    bob.book.register.take(removal(bob.me.person, "bo"), NOW)
    assert (await meet(bob, alice))[1] == "revoked"
    assert alice.book.admitted(BOB.peer_id) is None


async def test_a_peer_of_an_older_version_is_asked_for_no_removals() -> None:
    alice = admission(ALICE, ALICES)
    alice.book.register.take(removal("member-1", "m"), NOW)
    near, far = pipes()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.admit, BOB.peer_id, far, False)
            await near.send(encode(hello()))
            assert isinstance(decode(await near.receive()), Hello)
            await near.send(encode(Welcome()))
    assert alice.book.admitted(BOB.peer_id) is not None


async def test_an_invite_for_one_use_lets_one_in_wherever_the_first_was_heard_of() -> None:
    alice, bob = admission(ALICE, ALICES), admission(BOB, BOBS)
    assert (await meet(bob, alice))[:2] == (None, None)
    late = accept(
        ANCHOR, INVITED, key("i"), Keys(key("eve"), key("eve's")), Names("e", "eve", ""), NOW
    )
    eve = admission(key("eve"), late)
    near, far, pipe = await meet(eve, alice)
    assert (near, far) == ("used", "used")
    said = decode(pipe.seen[-1])
    assert isinstance(said, Refusal)
    assert "used before, by bo on 2027-01-15" in said.detail
    assert (await meet(bob, alice))[:2] == (None, None)
