"""Mutable names by quorum, on virtual time."""

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import RefusalError
from p2p.ids import LabId, PeerId, PersonId
from p2p.membership.view import Liveness
from p2p.wire.codec import decode_as, encode
from storage.errors import NameConflictError, StaleFenceError, TooFewPeersError
from storage.facade import NameValue
from storage.limits import NAME_VALUE_BYTES_MAX
from storage.records.names.config import NamesConfig
from storage.records.names.holder import TABLE, NameEntry
from storage.records.names.messages import Ballot
from storage.records.names.quota import Accounts, NamePayer
from testnet.sim.seeded import simulated
from tests.names_lab import OwnView, Truth, key_of, names_lab

NINE = [f"peer{number}" for number in range(9)]
NAME = "task/42/best"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 9])
@simulated
async def test_what_one_machine_writes_every_machine_reads(count: int) -> None:
    async with names_lab(NINE[:count]) as lab:
        assert await lab["peer0"].read(NAME) is None
        wrote = await lab["peer0"].write(NAME, b"first", expected=0, fence=1)
        assert wrote == NameValue(1, 1, b"first")
        for name in NINE[:count]:
            assert await lab[name].read(NAME) == wrote
        last = NINE[count - 1]
        assert await lab[last].write(NAME, b"second", expected=1, fence=1) == NameValue(
            2, 1, b"second"
        )


@simulated
async def test_a_write_that_expected_another_sequence_gets_the_present_value() -> None:
    async with names_lab(NINE[:3]) as lab:
        await lab["peer0"].write(NAME, b"first", expected=0, fence=1)
        with pytest.raises(NameConflictError) as caught:
            await lab["peer1"].write(NAME, b"other", expected=0, fence=1)
        assert (caught.value.sequence, caught.value.value) == (1, b"first")
        with pytest.raises(NameConflictError) as early:
            await lab["peer1"].write("task/42/none", b"x", expected=3, fence=1)
        assert (early.value.sequence, early.value.value) == (0, b"")


@simulated
async def test_repeating_a_write_succeeds_without_writing_again() -> None:
    async with names_lab(NINE[:3]) as lab:
        first = await lab["peer0"].write(NAME, b"first", expected=0, fence=1)
        assert await lab["peer0"].write(NAME, b"first", expected=0, fence=1) == first
        assert await lab["peer2"].read(NAME) == first


@simulated
async def test_a_lower_fence_is_refused_once_a_higher_one_has_written() -> None:
    async with names_lab(NINE[:5]) as lab:
        await lab["peer0"].write(NAME, b"old", expected=0, fence=1)
        await lab["peer1"].write(NAME, b"new", expected=1, fence=2)
        with pytest.raises(StaleFenceError):
            await lab["peer0"].write(NAME, b"late", expected=2, fence=1)
        assert await lab["peer0"].read(NAME) == NameValue(2, 2, b"new")
        assert lab["peer0"].stats().stale == 1


@simulated
async def test_names_of_machines_are_kept_apart() -> None:
    async with names_lab(NINE[:3]) as lab:
        mine, yours = lab["peer0"].service.machine(), lab["peer1"].service.machine()
        await mine.write("keyring", b"mine", expected=0, fence=0)
        assert await yours.read("keyring") is None
        await yours.write("keyring", b"yours", expected=0, fence=0)
        assert await mine.read("keyring") == NameValue(1, 0, b"mine")


@simulated
async def test_a_name_outlives_three_of_nine_machines_at_once() -> None:
    async with names_lab(NINE) as lab:
        wrote = await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        holders = lab["peer0"].holders(key_of(NAME)).voters
        for peer in holders[:3]:
            lab.crash(peer)
        reader = next(name for name in NINE if PeerId(name) not in holders[:3])
        assert await lab[reader].read(NAME) == wrote
        await lab[reader].write(NAME, b"more", expected=1, fence=1)


@simulated
async def test_the_last_of_two_machines_goes_on_alone_once_the_other_is_dead() -> None:
    async with names_lab(NINE[:2]) as lab:
        wrote = await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        lab.crash("peer0")
        lab.truth.set("peer0", Liveness.DEAD)
        assert await lab["peer1"].read(NAME) == wrote
        await lab["peer1"].write(NAME, b"alone", expected=1, fence=2)
        await lab.start("peer0")
        assert await lab["peer0"].read(NAME) == NameValue(2, 2, b"alone")


@simulated
async def test_without_a_majority_nothing_is_promised() -> None:
    async with names_lab(NINE[:3]) as lab:
        await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        lab.crash("peer1")
        lab.crash("peer2")
        with pytest.raises(TooFewPeersError):
            await lab["peer0"].write(NAME, b"more", expected=1, fence=1)
        with pytest.raises(TooFewPeersError):
            await lab["peer0"].read(NAME)


@simulated
async def test_a_holder_with_a_full_disk_promises_nothing_and_goes_on() -> None:
    async with names_lab(NINE[:3]) as lab:
        wrote = await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        lab.nodes["peer1"].tables.is_full = True
        wrote = await lab["peer0"].write(NAME, b"more", expected=1, fence=1)
        lab.nodes["peer2"].tables.is_full = True
        with pytest.raises(TooFewPeersError):
            await lab["peer0"].write(NAME, b"too much", expected=2, fence=1)
        lab.nodes["peer1"].tables.is_full = lab.nodes["peer2"].tables.is_full = False
        assert (await lab["peer1"].read(NAME) or wrote).sequence in (2, 3)
        await lab["peer2"].write(NAME, b"last", expected=2, fence=2)


@simulated
async def test_a_power_cut_of_every_machine_loses_nothing() -> None:
    async with names_lab(NINE[:5]) as lab:
        wrote = await lab["peer0"].write(NAME, b"value", expected=0, fence=3)
        for name in NINE[:5]:
            lab.crash(name)
        for name in NINE[:5]:
            await lab.start(name)
        assert await lab["peer4"].read(NAME) == wrote
        with pytest.raises(StaleFenceError):
            await lab["peer4"].write(NAME, b"late", expected=1, fence=2)


@simulated
async def test_names_move_with_the_members_until_no_first_holder_is_left() -> None:
    async with names_lab(NINE[:3], config=NamesConfig(down_after_s=5.0)) as lab:
        wrote = await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        for old, new in [("peer0", "peer3"), ("peer1", "peer4"), ("peer2", "peer5")]:
            await lab.start(new)
            lab.crash(old)
            lab.truth.set(old, Liveness.DEAD)
            await trio.sleep(20)
        assert await lab["peer5"].read(NAME) == wrote
        assert lab["peer5"].stats().held == 1


@simulated
async def test_a_machine_that_has_just_started_does_not_take_itself_for_the_only_holder() -> None:
    async with names_lab(NINE) as lab:
        await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        await trio.sleep(5)
        key = key_of(NAME)
        writer = next(name for name in NINE if name not in lab["peer0"].holders(key).voters)
        lab.crash(writer)
        knows_nobody = Truth()
        knows_nobody.set(writer, Liveness.ALIVE)
        lab.nodes[writer].members = OwnView(PeerId(writer), knows_nobody)
        await lab.start(writer)
        assert await lab[writer].read(NAME) == NameValue(1, 1, b"value")
        await lab[writer].write(NAME, b"more", expected=1, fence=1)
        assert await lab["peer0"].read(NAME) == NameValue(2, 1, b"more")


@simulated
async def test_of_two_machines_one_that_starts_alone_waits_for_the_other_but_not_for_long() -> None:
    async with names_lab(NINE[:2]) as lab:
        await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        await trio.sleep(5)
        lab.crash("peer0")
        lab.crash("peer1")
        knows_nobody = Truth()
        knows_nobody.set("peer0", Liveness.ALIVE)
        lab.nodes["peer0"].members = OwnView(PeerId("peer0"), knows_nobody)
        await lab.start("peer0")
        with pytest.raises(TooFewPeersError):
            await lab["peer0"].read(NAME)
        await trio.sleep(15)
        assert await lab["peer0"].read(NAME) == NameValue(1, 1, b"value")


@simulated
async def test_bad_names_and_values_are_refused_before_anybody_is_asked() -> None:
    async with names_lab(["peer0"]) as lab:
        with pytest.raises(ValueError, match="characters"):
            await lab["peer0"].read("")
        with pytest.raises(ValueError, match="store an object"):
            await lab["peer0"].write(NAME, bytes(NAME_VALUE_BYTES_MAX + 1), expected=0, fence=0)
        largest = bytes(NAME_VALUE_BYTES_MAX)
        await lab["peer0"].write("n" * 512, largest, expected=0, fence=0)
        with pytest.raises(ValueError, match="0 or more"):
            await lab["peer0"].write(NAME, b"", expected=0, fence=-1)


@simulated
async def test_names_nobody_wrote_for_a_year_are_forgotten() -> None:
    async with names_lab(["peer0"], config=NamesConfig(watch_s=1e6)) as lab:
        await lab["peer0"].write(NAME, b"value", expected=0, fence=0)
        await trio.sleep(402 * 24 * 3600)
        assert lab["peer0"].stats().held == 0
        assert await lab["peer0"].read(NAME) is None


@pytest.mark.parametrize("counter", [(1 << 53) + 1, (1 << 64) - 1])
@simulated
async def test_a_holder_that_counts_beyond_all_bounds_is_not_believed(counter: int) -> None:
    async with names_lab(NINE[:3]) as lab:
        wrote = await lab["peer0"].write(NAME, b"value", expected=0, fence=1)
        key = key_of(NAME)
        packed = lab.nodes["peer2"].tables.get(TABLE, key)
        assert packed is not None
        entry = decode_as(NameEntry, packed)
        insane = replace(entry.state, promised=Ballot(1, counter, PeerId("peer2"), 0))
        lab.nodes["peer2"].tables.overwrite(TABLE, key, encode(replace(entry, state=insane)))
        assert await lab["peer0"].read(NAME) == wrote
        assert (await lab["peer1"].write(NAME, b"more", expected=1, fence=1)).sequence == 2


@simulated
async def test_names_that_are_over_go_on_a_full_disk_too() -> None:
    async with names_lab(["peer0"], config=NamesConfig(watch_s=1e6)) as lab:
        await lab["peer0"].write(NAME, b"value", expected=0, fence=0)
        lab.nodes["peer0"].tables.is_full = True
        await trio.sleep(402 * 24 * 3600)
        assert lab["peer0"].stats().held == 0


def test_an_account_ends_with_its_last_name() -> None:
    accounts = Accounts()
    for at in range(100):
        payer = NamePayer(PersonId(f"person{at}"), LabId(f"lab{at}"), False)
        accounts.add(payer, is_pending=True)
        if at % 2:
            accounts.written(payer)
        accounts.add(payer, is_pending=not at % 2, count=-1)
    assert (accounts.held, len(accounts)) == (0, 0)


def test_names_on_their_way_count_against_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.records.names.quota.NAMES_PER_PERSON_MAX", 2)
    accounts, payer = Accounts(), NamePayer(PersonId("person"), LabId("lab"), False)
    accounts.add(payer, is_pending=False)
    with accounts.coming(payer, b"one"), accounts.coming(payer, b"one"):
        accounts.check(payer)
        with accounts.coming(payer, b"two"), pytest.raises(RefusalError, match="one person"):
            accounts.check(payer)
    accounts.check(payer)
