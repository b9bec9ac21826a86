"""Every decoder that reads what others wrote: how it is called, what it may raise, what is good."""

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import msgspec

from p2p.errors import AdmissionError, InviteError, WireError
from p2p.host.addresses import parse_address
from p2p.host.admission.messages import Hello, Refusal, Welcome
from p2p.identity.admission import Clocks, check_token
from p2p.identity.invites import INVITE_PREFIX, _wrap, decode_invite
from p2p.identity.records import decode_token
from p2p.ids import LabId, PersonId
from p2p.limits import (
    ADMIT_FRAME_BYTES_MAX,
    CONTROL_FRAME_BYTES_MAX,
    INVITE_CHARS_MAX,
    STREAMS_INBOUND_MAX,
)
from p2p.link.noise import NoiseSession
from p2p.link.yamux.core import YamuxCore
from p2p.link.yamux.frames import HEADER
from p2p.wire.bounds import check_bounds
from p2p.wire.codec import Message, decode, decode_as, encode, number_in, number_of
from p2p.wire.envelope import _signed_bytes, seal
from p2p.wire.frames import FrameReader, frame
from storage.errors import CapabilityError, ManifestError
from storage.facade import ReadCap
from storage.ids import Address, LeaseId, ObjectKey
from storage.manifests.capability import parse_address as parse_object_address
from storage.manifests.capability import parse_cap, text_of_address, text_of_cap
from storage.manifests.manifest import Manifest, SegmentRef, address_of, read_manifest, read_page
from storage.records.holding import HOLDERS_DOMAIN, HolderRecord, open_holders
from swarmnode.cli.client import _api_error
from swarmnode.errors import NameRefusedError, SpecError, TreeRefusedError
from swarmnode.memory.entries import marked_step
from swarmnode.tasks.sizes import parse_bytes, parse_cores, parse_duration_ms
from swarmnode.tasks.spec_load import spec_from_json, spec_from_toml
from swarmnode.tree.folder import (
    FolderIndex,
    FolderNames,
    Pack,
    PackPlace,
    read_folder,
    read_names,
    write_folder,
    write_names,
)
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.names import parts_in
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.unpack import IndexReader
from testnet.sim.signer import KeyedHashSigner
from tests.fuzz.samples import Sampler, every_struct
from tests.property.test_identity_property import ALPHA, ANCHOR, BOB, BOBS_BYTES, NOW, TEXT


@dataclass(frozen=True)
class Target:
    """One decoder."""

    name: str
    run: Callable[[bytes], object]
    good: Callable[[], list[bytes]]
    """Inputs to begin with; each is taken without an error."""
    refusals: tuple[type[Exception], ...]
    cases: int = 2000
    """Mutants in a quick run."""


def _frames(data: bytes) -> None:
    reader, dice = FrameReader(CONTROL_FRAME_BYTES_MAX), random.Random(len(data))
    at = 0
    while at < len(data):
        end = at + dice.choice((1, 3, 100, 70_000))
        for payload in reader.feed(data[at:end]):
            assert len(payload) <= CONTROL_FRAME_BYTES_MAX
        at = end


def _message(data: bytes) -> None:
    """Whatever is decoded is a value that can be sent on as it came."""
    message = decode(data)
    assert number_of(type(message)) == number_in(data)
    assert encode(decode_as(type(message), encode(message))) == encode(message)


def _record(data: bytes) -> None:
    """The first byte says which of the records, all of which are tried in the end."""
    kinds = _records()
    kind = kinds[data[0] % len(kinds)] if data else kinds[0]
    value = decode_as(kind, data[1:])
    assert encode(decode_as(kind, encode(value))) == encode(value)


def _noise(data: bytes) -> None:
    session = NoiseSession(send_key=bytes(32), receive_key=bytes(32))
    session.open(data[: len(data) // 2])
    session.open(data[len(data) // 2 :])


def _yamux(data: bytes) -> None:
    core = YamuxCore(is_initiator=False)
    core.open_stream()
    for at in range(0, len(data), 997):
        for _ in core.feed(data[at : at + 997]):
            assert 0 <= core._inbound <= STREAMS_INBOUND_MAX
            assert 0 <= core.windows.unread_bytes <= core.windows.unread_bytes_max
    assert core.output.size_bytes == len(core.output.take()) <= 2 * len(data) + 1000


def _admission_frame(data: bytes) -> None:
    match decode(data, ADMIT_FRAME_BYTES_MAX):
        case Hello() as hello:
            token = decode_token(hello.token)
            check_token(token, BOB.machine.peer_id, ANCHOR, ALPHA, Clocks(NOW, hello.wall_ms))
        case _:
            return


def _token(data: bytes) -> None:
    check_token(decode_token(data), BOB.machine.peer_id, ANCHOR, ALPHA, Clocks(NOW))


def _invite_text(data: bytes) -> None:
    decode_invite(data.decode(errors="replace"), NOW)


def _invite_content(data: bytes) -> None:
    decode_invite(_wrap(data[:INVITE_CHARS_MAX]), NOW)


def _invite_inside() -> bytes:
    body = TEXT[len(INVITE_PREFIX) :].upper()
    whole = base64.b32decode(body + "=" * (-len(body) % 8))
    content_bytes = int.from_bytes(whole[:2])
    return whole[2 : 2 + content_bytes]


_MANIFEST: Final = Manifest(
    1, 100, 8 * 2**20, 3, 6, 1, LeaseId(bytes(16)), PersonId("ann"), LabId("lab"), 1, 0,
    (SegmentRef(116, bytes(32 * 6)),), b"",
)  # fmt: skip


def _manifest(data: bytes) -> None:
    manifest = read_manifest(address_of(data), data)
    if manifest.is_paged:
        read_page(manifest, 0, data)
    for index in range(min(3, manifest.segment_count)):
        manifest.plain_length(index)


_SIGNER: Final = KeyedHashSigner(BOB.machine.peer_id)
_HOLDERS: Final = HolderRecord(
    Address(bytes(32)), 0, 3, (ALPHA.peer_id, BOB.machine.peer_id), bytes.fromhex("00000001ffff")
)


def _holders(data: bytes) -> None:
    """Signed by somebody who may: only the content is strange."""
    sealed = seal(_SIGNER, ANCHOR.network, HOLDERS_DOMAIN, _HOLDERS, sequence=1, expires_ms=0)
    bare = msgspec.structs.replace(sealed, payload=data, signature=b"")
    signed = msgspec.structs.replace(bare, signature=_SIGNER.sign(_signed_bytes(bare)))
    open_holders(_SIGNER, ANCHOR.network, signed)


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode(errors="replace"))


def _sizes(text: str) -> None:
    for parse in (parse_bytes, parse_cores, parse_duration_ms):
        try:
            assert parse(text) >= 0
        except ValueError:
            continue


class _Answer:
    """An HTTP error as it came from whatever answers at the address."""

    status, reason = 500, "Server Error"


def _problem(data: bytes) -> None:
    assert str(_api_error(_Answer(), data))  # type: ignore[arg-type]


def _samples(kind: type[msgspec.Struct], count: int) -> list[bytes]:
    sampler = Sampler(random.Random(kind.__name__))
    return [encode(sampler.of(kind)) for _ in range(count)]


def _messages() -> list[bytes]:
    kinds = [kind for kind in every_struct().values() if issubclass(kind, Message)]
    packed = [data for kind in kinds for data in _samples(kind, 4)]
    return [data for data in packed if len(data) <= CONTROL_FRAME_BYTES_MAX]


@cache
def _records() -> list[type[msgspec.Struct]]:
    return [kind for kind in every_struct().values() if not issubclass(kind, Message)]


def _record_samples() -> list[bytes]:
    numbered = enumerate(_records())
    packed = [bytes([at]) + data for at, kind in numbered for data in _samples(kind, 4)]
    return [data for data in packed if len(data) <= CONTROL_FRAME_BYTES_MAX]


def _yamux_frames() -> list[bytes]:
    syn, ack, fin, rst = 1, 2, 4, 8
    return [
        HEADER.pack(0, 1, syn, 1, 0) + HEADER.pack(0, 0, 0, 1, 5) + b"hello",
        HEADER.pack(0, 0, syn | fin, 3, 2) + b"hi" + HEADER.pack(0, 1, rst, 3, 0),
        HEADER.pack(0, 2, syn, 0, 7) + HEADER.pack(0, 2, ack, 0, 8) + HEADER.pack(0, 3, 0, 0, 0),
        HEADER.pack(0, 1, ack, 2, 2**20) + HEADER.pack(0, 0, fin, 2, 0),
        b"".join(HEADER.pack(0, 1, syn, 2 * n + 1, 0) for n in range(200)),
    ]


def _sealed() -> list[bytes]:
    plains = (b"hello", b"x", bytes(70_000))
    key = bytes(32)
    return [bytes(NoiseSession(send_key=key, receive_key=key).seal(plain)) for plain in plains]


_CAP: Final = ReadCap(Address(bytes(range(32))), ObjectKey(bytes(32)))
_SPEC_JSON: Final = (
    b'{"run": ["echo", "hello"], "name": "greet", "priority": 3, "deadline": "2h", "retries": 2,'
    b' "class": "batch", "env": "python", "shape": {"cpu": "500m", "mem": "512M", "gpu": 1},'
    b' "variables": {"A": "b"}, "outputs": ["out/*"], "checkpoint": {"dir": "ck", "every_s": 30}}'
)
_SPEC_TOML: Final = (
    b'run = ["echo", "hello"]\nname = "greet"\n[shape]\ncpu = 2\nmem = "512M"\n'
    b'[variables]\nA = "b"\n'
)

_FOLDER_OF: Final = FolderNames(
    (TreeEntry(b"", EntryKind.FOLDER, 0o755), TreeEntry(b"a", EntryKind.FILE, 0o644, 3)),
    (bytes(range(32)),),
)
_FOLDER_NAMES: Final = write_names(write_index(_FOLDER_OF.entries), _FOLDER_OF.hashes)
_FOLDER: Final = write_folder(
    FolderIndex(_FOLDER_OF, (Pack(_CAP, 9),), (PackPlace(0, 6, bytes(16)),))
)
_TREE: Final = write_index(
    (
        TreeEntry(b"", EntryKind.FOLDER, 0o755),
        TreeEntry(b"a", EntryKind.FOLDER, 0o755),
        TreeEntry(b"a/b", EntryKind.FILE, 0o644, 3),
        TreeEntry(b"a/c", EntryKind.LINK, target=b"../d"),
        TreeEntry(b"d", EntryKind.NAME, target=b"a/b"),
    )
)


def _pattern(text: str) -> None:
    Pattern(text).matches((b"a", b"b.txt"))


TARGETS: Final = (
    Target("frames", _frames, lambda: [frame(b"hello"), frame(b"") * 3], (WireError,)),
    Target("bounds", check_bounds, _messages, (WireError,)),
    Target("messages", _message, _messages, (WireError,), 8000),
    Target("records", _record, _record_samples, (WireError,), 6000),
    Target("noise", _noise, _sealed, (WireError,)),
    Target("yamux", _yamux, _yamux_frames, (WireError,), 4000),
    Target(
        "admission",
        _admission_frame,
        lambda: [
            encode(Hello(1, ANCHOR.network, NOW, BOBS_BYTES)),
            encode(Welcome()),
            encode(Refusal("clock", "set it")),
        ],
        (WireError, AdmissionError),
    ),
    Target("token", _token, lambda: [BOBS_BYTES], (WireError, AdmissionError)),
    Target("invite_text", _invite_text, lambda: [TEXT.encode()], (InviteError,), 1000),
    Target("invite_content", _invite_content, lambda: [_invite_inside()], (InviteError,)),
    Target("manifest", _manifest, lambda: [encode(_MANIFEST)], (ManifestError,)),
    Target("holders", _holders, lambda: [encode(_HOLDERS)], (WireError,)),
    Target(
        "address",
        _text(parse_address),
        lambda: [f"/ip4/192.0.2.1/tcp/4850/p2p/{ALPHA.peer_id}".encode(), b"/dns/a.b/tcp/1"],
        (ValueError,),
    ),
    Target(
        "capability", _text(parse_cap), lambda: [text_of_cap(_CAP).encode()], (CapabilityError,)
    ),
    Target(
        "object_address",
        _text(parse_object_address),
        lambda: [text_of_address(_CAP.address).encode()],
        (CapabilityError,),
    ),
    Target("spec_json", spec_from_json, lambda: [_SPEC_JSON], (SpecError,)),
    Target("spec_toml", _text(spec_from_toml), lambda: [_SPEC_TOML], (SpecError,)),
    Target("sizes", _text(_sizes), lambda: [b"512M", b"2GiB", b"0.5", b"500m", b"2h"], ()),
    Target(
        "tree", lambda data: IndexReader().feed(data), lambda: [_TREE], (TreeRefusedError,), 4000
    ),
    Target("folder", read_folder, lambda: [_FOLDER], (TreeRefusedError,), 4000),
    Target("folder_names", read_names, lambda: [_FOLDER_NAMES], (TreeRefusedError,), 4000),
    Target("name", _text(parts_in), lambda: [b"a/b", rb"\xff\\"], (NameRefusedError,), 1000),
    Target("pattern", _text(_pattern), lambda: [b"**/*.t[a-z]t", rb"\*/\xff"], (NameRefusedError,)),
    Target("marker", marked_step, lambda: [b'{"step": 12}'], ()),
    Target("problem", _problem, lambda: [b'{"code": "busy", "title": "no", "detail": "d"}'], ()),
)
