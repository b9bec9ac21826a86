"""What is said while a peer is admitted: frames of the exchange, and removals before it is let in.

    dialler                                        dialled
    Removals(keys of all it holds)  ------------>
        <---------------------  Removals(entries the dialler lacks), ...
        <---------------------  Removals(keys the dialled lacks, is_last)
    Removals(entries asked for), ..., Removals(is_last)  ------------>

Only where the two Hellos tell that different removals are held.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from p2p.errors import AdmissionError, WireError
from p2p.host.admission.messages import Refusal, RemovalsTold
from p2p.host.admission.port import AdmitStream
from p2p.identity.register.records import KEY_BYTES
from p2p.identity.register.register import Register
from p2p.ids import PeerId
from p2p.limits import ADMIT_FRAME_BYTES_MAX, REFUSAL_CHARS_MAX, REMOVALS_MAX
from p2p.wire.codec import Message, decode, encode
from p2p.wire.envelope import Signed


async def ask_removals(register: Register, stream: AdmitStream, wall_ms: Callable[[], int]) -> None:
    """The dialler's half. Raises AdmissionError."""
    await stream.send(encode(RemovalsTold(b"".join(register.removals.told()))))
    wanted = await _take(register, stream, wall_ms)
    for page in _pages(register, wanted, is_last=True):
        await stream.send(encode(page))


async def tell_removals(
    register: Register, stream: AdmitStream, wall_ms: Callable[[], int]
) -> None:
    """The half of whoever was dialled. Raises AdmissionError."""
    theirs = dict.fromkeys(keys_in((await _next(stream)).keys))
    ours = dict.fromkeys(register.removals.keys())
    for page in _pages(register, (key for key in ours if key not in theirs), is_last=False):
        await stream.send(encode(page))
    lacking = b"".join(key for key in theirs if key not in ours)
    await stream.send(encode(RemovalsTold(lacking)))
    await _take(register, stream, wall_ms)


async def _take(register: Register, stream: AdmitStream, wall_ms: Callable[[], int]) -> list[bytes]:
    """Hold the entries of all pages; the keys that the last one asks for."""
    for _ in range(REMOVALS_MAX + 1):
        page = await _next(stream)
        register.take_all(page.entries, wall_ms())
        if page.is_last:
            return keys_in(page.keys)
    raise AdmissionError("malformed", "removals without end")


async def _next(stream: AdmitStream) -> RemovalsTold:
    match decoded(await receive(stream)):
        case RemovalsTold() as page:
            return page
        case Refusal() as refusal:
            raise AdmissionError(_code_of(refusal), harmless(refusal.detail))
        case other:
            raise AdmissionError("malformed", f"{type(other).__name__} instead of Removals")


def _pages(register: Register, keys: Iterable[bytes], *, is_last: bool) -> Iterator[RemovalsTold]:
    batch: list[Signed] = []
    size = 0
    for key in keys:
        removed = register.removals.find(key)
        if removed is None:
            continue
        entry_bytes = len(encode(removed.sealed))
        if batch and size + entry_bytes > ADMIT_FRAME_BYTES_MAX - 256:
            yield RemovalsTold(entries=tuple(batch), is_last=False)
            batch, size = [], 0
        batch.append(removed.sealed)
        size += entry_bytes
    if batch or is_last:
        yield RemovalsTold(entries=tuple(batch), is_last=is_last)


def keys_in(joined: bytes) -> list[bytes]:
    """Keys of entries, one after another. Raises AdmissionError."""
    if len(joined) % KEY_BYTES or len(joined) > REMOVALS_MAX * KEY_BYTES:
        raise AdmissionError("malformed", f"{len(joined)} bytes of keys")
    return [joined[at : at + KEY_BYTES] for at in range(0, len(joined), KEY_BYTES)]


def harmless(detail: str) -> str:
    """A peer's words, as a person may be shown them."""
    return "".join(c for c in detail[:REFUSAL_CHARS_MAX] if c.isprintable())


async def receive(stream: AdmitStream) -> bytes:
    """The next frame. Raises AdmissionError."""
    try:
        return await stream.receive()
    except WireError as exc:
        raise AdmissionError("malformed", str(exc)) from exc


def decoded(frame: bytes) -> Message:
    """What a frame says. Raises AdmissionError."""
    try:
        return decode(frame, ADMIT_FRAME_BYTES_MAX)
    except WireError as exc:
        raise AdmissionError("malformed", str(exc)) from exc


def refused(peer: PeerId, refusal: Refusal) -> NoReturn:
    """Say that the peer refused us; its words are shown to people, so they are made harmless."""
    raise AdmissionError(_code_of(refusal), f"{peer} refused us: {harmless(refusal.detail)}")


def _code_of(refusal: Refusal) -> str:
    """Its code where that is a word: people see it, too."""
    is_word = refusal.code.isascii() and refusal.code.isalpha()
    return refusal.code[:16] if is_word else "malformed"
