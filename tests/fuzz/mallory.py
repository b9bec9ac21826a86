"""A member that says anything: to whole nodes, in messages of every kind, signed where it can.

What it overhears (the frames of the memory network) it repeats, with or without changes; what it
is asked it answers at random. It signs with its own key only, as a real member could.
"""

import random
from collections.abc import Callable

import msgspec
import trio

from p2p.errors import P2PError, RefusalError, WireError
from p2p.gossip.items import RESOURCES, STORAGE
from p2p.gossip.messages import DOMAINS, Carried, ItemFact, Push
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.rpc.messages import Call, Cast, Reply
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, TrafficClass
from p2p.limits import BODY_BYTES_MAX
from p2p.membership.messages import PRESENCE_DOMAIN, Ack, News, Ping, Presence, Spread
from p2p.wire.codec import Message, decode, decode_as, encode, number_in, number_of
from p2p.wire.envelope import Signed, seal
from storage.messages import RECEIPT_DOMAIN
from storage.placement.advert import StorageAdvert
from storage.records.holding import HOLDERS_DOMAIN
from storage.records.names.messages import NAME_DOMAIN
from swarmnode.market.messages import AWARD_DOMAIN
from swarmnode.tasks import messages as task_messages
from testnet.sim.callers import machine_of
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import NETWORK, World
from tests.fuzz.mutate import mutated
from tests.fuzz.samples import Sampler, every_struct

ME = PeerId("peer-mallory")
_SERVICES_BEGIN = 20
_OVERHEARD_MAX = 2000
_MESSAGE_BYTES_MAX = 60_000
_DOMAINS = (
    *DOMAINS.values(),
    PRESENCE_DOMAIN,
    HOLDERS_DOMAIN,
    NAME_DOMAIN,
    RECEIPT_DOMAIN,
    AWARD_DOMAIN,
    task_messages.RESULT_DOMAIN,
    task_messages.RECEIPT_DOMAIN,
)


class _WordsOfHers(Sampler):
    """Signs what is signed, most of the time."""

    signer = KeyedHashSigner(ME)
    wall_ms: Callable[[], int]
    records: list[type[msgspec.Struct]]

    def _value(self, info: object) -> object:
        if getattr(info, "cls", None) is Signed and self.dice.random() < 0.8:
            return self.signed(self.dice.choice(self.records))
        return super()._value(info)

    def signed(self, kind: type[msgspec.Struct], domain: str = "") -> Signed:
        """Any record under any domain, dated now."""
        now_ms = self.wall_ms()
        return seal(
            self.signer,
            NETWORK,
            domain or self.dice.choice(_DOMAINS),
            self.of(kind),
            sequence=now_ms + self.dice.randrange(10**6),
            expires_ms=now_ms + self.dice.choice((-1, 1000, 60_000, 10**12)),
        )


TOKEN = f"token of {ME}".encode()


class Mallory:
    """One hostile member of a simulated world."""

    def __init__(self, world: World, seed: int) -> None:
        self.dice = random.Random(f"mallory/{seed}")
        self.sent = 0
        self._world = world
        self._overheard: list[bytes] = []
        self._kinds = [
            kind
            for kind in every_struct().values()
            if issubclass(kind, Message) and number_of(kind) >= _SERVICES_BEGIN
        ]
        self._asked: dict[tuple[PeerId, PeerId, int, int], int] = {}
        self._reply_kinds: dict[int, type[Message]] = {}
        world.network.trace = self._overhear
        world.guests[ME] = machine_of(ME, LabId("lab-m"))
        self.host = MemoryHost(world.network, ME, world.guests[ME])
        self.rpc = Rpc(self.host)
        self.words = self._words()
        self._advert: bytes = b""
        """What an honest machine says it lends: so does she."""
        for kind in self._kinds:
            self.rpc.serve(kind, self._answer, lambda *_: BODY_BYTES_MAX)
        self.rpc.listen(Ping, lambda caller, ping: self.rpc.cast(caller.peer, Ack(ping.sequence)))

    def _words(self) -> _WordsOfHers:
        peers = tuple(machine.peer for machine in self._world.machines.values())
        records = [kind for kind in every_struct().values() if not issubclass(kind, Message)]
        blobs = tuple(encode(Sampler(self.dice).of(kind)) for kind in records)
        words = _WordsOfHers(self.dice, (*peers, ME, NETWORK, "lab-0", "t1", *_DOMAINS), blobs)
        words.signer = KeyedHashSigner(ME, self._world.seed)
        words.wall_ms = next(iter(self._world.machines.values())).wall
        words.records = records
        return words

    def _overhear(
        self, at_s: float, source: PeerId, to: PeerId, traffic_class: TrafficClass, frame: bytes
    ) -> None:
        if source == ME:
            return
        if len(self._overheard) < _OVERHEARD_MAX:
            self._overheard.append(frame)
        else:
            self._overheard[self.dice.randrange(_OVERHEARD_MAX)] = frame
        match decode(frame, 2**21):
            case Call(id=number, payload=payload):
                self._asked[source, to, traffic_class, number] = number_in(payload)
            case Reply(id=number, payload=payload):
                asked = self._asked.pop((to, source, traffic_class, number), None)
                if asked is not None:
                    self._reply_kinds[asked] = type(decode(payload))
            case Cast(payload) if number_in(payload) == number_of(Push):
                for carried in decode_as(Push, payload).items:
                    if carried.sealed.domain == DOMAINS[RESOURCES]:
                        self._advert = decode_as(ItemFact, carried.sealed.payload).body

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Be a member and talk; two hundred messages a second."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.rpc.run)
            await nursery.start(self.host.run)
            for machine in self._world.machines.values():
                self.host.learn(machine.peer, [memory_address(machine.peer)])
            task_status.started()
            while True:
                self._greet()
                for _ in range(200):
                    await trio.sleep(0.005)
                    self._speak(nursery)

    def _greet(self) -> None:
        """Be known, and worth asking."""
        wall_ms = self.words.wall_ms()
        said = Presence((memory_address(ME),), "mallory", LabId("lab-m"), "", False, 1, TOKEN)
        presence = seal(
            self.words.signer, NETWORK, PRESENCE_DOMAIN, said, sequence=wall_ms, expires_ms=0
        )
        bodies = {STORAGE: encode(StorageAdvert(True, 10**12, 10**12)), RESOURCES: self._advert}
        items = tuple(
            Carried(
                60_000,
                seal(
                    self.words.signer,
                    NETWORK,
                    DOMAINS[kind],
                    ItemFact(60_000, body),
                    sequence=wall_ms,
                    expires_ms=wall_ms + 60_000,
                ),
            )
            for kind, body in bodies.items()
        )
        for machine in self._world.machines.values():
            self.rpc.cast(machine.peer, Spread(News((presence,))))
            self.rpc.cast(machine.peer, Push(1, items))

    def _speak(self, nursery: trio.Nursery) -> None:
        self.sent += 1
        peer = self.dice.choice(list(self._world.machines.values())).peer
        traffic_class = self.dice.choice(list(TrafficClass))
        message = self._message()
        if message is None:
            return
        is_call = number_of(type(message)) in self._world["a"].up.peers.rpc._handlers.kinds
        if is_call == (self.dice.random() < 0.03):
            self.rpc.cast(peer, message, traffic_class)
        else:
            nursery.start_soon(self._call, peer, message, traffic_class)

    def _message(self) -> Message | None:
        if self._overheard and self.dice.random() < 0.5:
            return self._repeated(self.dice.choice(self._overheard))
        message = self.words.of(self.dice.choice(self._kinds))
        assert isinstance(message, Message)
        return message if len(encode(message)) < _MESSAGE_BYTES_MAX else None

    def _repeated(self, frame: bytes) -> Message | None:
        try:
            match decode(frame, 2**20):
                case Cast(payload) | Call(payload=payload):
                    changed = self.dice.random() < 0.7
                    return decode(mutated(payload, [payload], self.dice) if changed else payload)
        except WireError:
            return None
        return None

    async def _call(self, peer: PeerId, message: Message, traffic_class: TrafficClass) -> None:
        body = self.dice.choice((b"", b"", b"x", bytes(5000), self.dice.randbytes(300)))
        try:
            await self.rpc.call(
                peer,
                message,
                self.dice.choice(self._kinds),
                traffic_class=traffic_class,
                timeout_s=self.dice.choice((0.1, 2.0)),
                body=body,
            )
        except P2PError:
            return

    async def _answer(self, caller: Caller, message: Message, body: bytes) -> tuple[Message, bytes]:
        await trio.sleep(self.dice.choice((0.0, 0.1)))
        kind = self._reply_kinds.get(number_of(type(message)))
        if kind is None or self.dice.random() < 0.05:
            kind = self.dice.choice(self._kinds)
        reply = self.words.of(kind)
        assert isinstance(reply, Message)
        if len(encode(reply)) >= _MESSAGE_BYTES_MAX:
            raise RefusalError("busy", "not now")
        return reply, self.dice.choice((b"", bytes(100), self.dice.randbytes(4096)))
