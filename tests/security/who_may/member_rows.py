"""What Mallory says of members, and of what everybody tells everybody."""

from msgspec.structs import replace

from p2p.gossip.items import STORAGE
from p2p.gossip.messages import DOMAINS, Carried, Digest, ItemFact, Push, Want
from p2p.host.rpc.echo import EchoReply, EchoRequest
from p2p.ids import LabId, PeerId
from p2p.membership.messages import PRESENCE_DOMAIN, News, Opinion, Presence, Spread
from p2p.register.messages import Entries, Held
from p2p.renewal.messages import RenewRequest
from storage import messages as m
from testnet.sim.clock import START_MS
from tests.security.who_may.scene import MALLORY, Scene, row


@row("EchoReply")
async def echo(scene: Scene) -> object:
    return await scene.ask(EchoRequest(), EchoReply)


@row("told")
async def presence_that_claims_anothers_name_and_lab(scene: Scene) -> object:
    said = Presence((), "m1", LabId("lab-0"), "", False, 1, b"token of mallory")
    return await scene.tell(Spread(News((scene.seal(PRESENCE_DOMAIN, said),))))


@row("told")
async def presence_with_anothers_token(scene: Scene) -> object:
    said = Presence((), "m1", LabId("lab-0"), "", False, 1, b"token of peer-m1")
    return await scene.tell(Spread(News((scene.seal(PRESENCE_DOMAIN, said),))))


@row("told")
async def presence_signed_for_another(scene: Scene) -> object:
    said = scene.seal(PRESENCE_DOMAIN, Presence((), "x", LabId("x"), ""))
    return await scene.tell(Spread(News((replace(said, sender=PeerId("peer-m1")),))))


@row("told")
async def hearsay_of_a_death(scene: Scene) -> object:
    doubt = Opinion(PeerId("peer-m1"), 1 << 50, 2, MALLORY)
    return await scene.tell(Spread(News((), (doubt,))))


@row("told")
async def gossip_in_anothers_name(scene: Scene) -> object:
    said = scene.seal(DOMAINS[STORAGE], ItemFact(60_000, b""))
    lie = replace(said, sender=PeerId("peer-m1"), expires_ms=START_MS + 120_000)
    return await scene.tell(Push(3, (Carried(60_000, lie),)))


@row("told")
async def asking_for_gossip(scene: Scene) -> object:
    await scene.tell(Digest(0, (1 << 64) - 1, b""))
    return await scene.tell(Want(bytes(8)))


@row("told")
async def removal_by_one_without_the_right(scene: Scene) -> object:
    await scene.tell(Held(bytes(16)))
    return await scene.tell(Entries((scene.seal("swarm/removal", m.DropOrder(scene.lease)),)))


@row("unknown")
async def renewal_of_certificates_where_there_are_none(scene: Scene) -> object:
    return await scene.ask(RenewRequest(b"", False), EchoReply)
