"""Who mends an object names the machine that put it: that gives nobody a say over its bytes."""

import pytest
from msgspec.structs import replace

from p2p.errors import RefusalError
from p2p.ids import PeerId
from p2p.wire.envelope import seal
from storage import messages as m
from storage.holder.tombstones import DOMAIN, Tombstone
from storage.ids import Address
from testnet.sim.seeded import simulated
from tests.storage_lab import NETWORK, StorageLab, storage_lab
from tests.unit.storage.transfer.test_lease_rights import (
    DATA,
    LAB_MATE,
    LEASE,
    OWNERS_MACHINE,
    STRANGER,
    drop,
    key,
    put,
    server,
    terms,
)


def is_bound(lab: StorageLab, signer: str) -> bool:
    """Whether a tombstone by that machine would free what is kept under the lease."""
    row = lab["p0"].leases.row(LEASE)
    assert row is not None
    stone = Tombstone(LEASE, Address(bytes(32)))
    sealed = seal(key(signer), NETWORK, DOMAIN, stone, sequence=0, expires_ms=0)
    return lab["p0"].tombstones.binds(sealed, LEASE, row)


def by(putter: str) -> m.LeaseTerms:
    return replace(terms(), putter=PeerId(putter))


@pytest.mark.parametrize("said", ["", LAB_MATE.peer, "m0"])
@simulated
async def test_whoever_mends_first_does_not_become_the_one_who_put_it(said: str) -> None:
    async with storage_lab(1) as lab:
        await put(lab, LAB_MATE, by(said))
        assert not is_bound(lab, LAB_MATE.peer)
        await put(lab, OWNERS_MACHINE, by(""))
        assert not is_bound(lab, LAB_MATE.peer)


@simulated
async def test_a_hold_that_is_renewed_makes_nobody_the_one_who_put_it() -> None:
    async with storage_lab(1) as lab:
        await put(lab, STRANGER, terms(is_hold=True))
        await put(lab, LAB_MATE, terms(is_hold=True))
        await server(lab).answer(LAB_MATE, m.RenewLeases(LEASE, 1 << 52), b"")
        assert not is_bound(lab, LAB_MATE.peer)
        assert not is_bound(lab, STRANGER.peer)


@simulated
async def test_the_owners_machine_is_the_one_that_put_it_and_may_say_so_later() -> None:
    async with storage_lab(1) as lab:
        await put(lab, OWNERS_MACHINE, terms())
        await put(lab, LAB_MATE, by(LAB_MATE.peer))
        assert is_bound(lab, OWNERS_MACHINE.peer)


@simulated
async def test_nobody_takes_over_a_put_that_goes_on_and_ends_it() -> None:
    """Each holder of a put knows its lease, and so could say to be its putter to the others."""
    async with storage_lab(1) as lab:
        await put(lab, OWNERS_MACHINE, terms(is_hold=True))
        for caller in (LAB_MATE, STRANGER):
            await put(lab, caller, terms(is_hold=True))
            assert await drop(lab, caller) == 0  # what they brought of it themselves
            with pytest.raises(RefusalError, match="not-yours"):
                await drop(lab, caller)
        reply, _ = await server(lab).answer(OWNERS_MACHINE, m.HoldLeases(LEASE), b"")
        assert reply == m.LeasesRenewed(b"\1")
        assert await drop(lab, OWNERS_MACHINE) >= len(DATA)
