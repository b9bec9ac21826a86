"""Objects over HTTP: streams in, streams out, never a whole file in memory."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from storage.errors import (
    ManifestError,
    ObjectDegradedError,
    ObjectUnknownError,
    StorageError,
)
from storage.facade import Durability, Forgotten, Mark, ObjectEntry, ObjectKind, ReadCap
from storage.ids import Address
from storage.manifests.capability import parse_cap
from swarmnode.api.access.asker import LOCKED, asker_of, lab_reason, shown
from swarmnode.api.face import NodeFace
from swarmnode.api.reply import CutShort, Stream, body_as, flag, reply
from swarmnode.api.schema.objects import ReadRequest, RemoveReply, SameRequest
from swarmnode.api.views.objects import (
    address_of,
    costs_of,
    day_and_time,
    detail_json,
    is_whole,
    line_json,
    receipt_json,
    survivals,
)
from swarmnode.errors import OutputUnsafeError, PersonLockedError
from swarmnode.limits import OBJECT_NAME_CHARS_MAX
from swarmnode.packs.reading import read
from swarmnode.people.seals import HINT

_HIDDEN = (ObjectKind.KEYRING, ObjectKind.LOG, ObjectKind.PACK)
"""What a node keeps for itself: `task logs` shows logs, and packs are parts of folders."""

log = logging.getLogger("swarm")


class ObjectRoutes:
    """Handlers under /api/v1/objects."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [
            Route("/api/v1/objects", self.put, methods=["POST"]),
            Route("/api/v1/objects", self.ls, methods=["GET"]),
            Route("/api/v1/objects/read", self.read, methods=["POST"]),
            Route("/api/v1/objects/same", self.same, methods=["POST"]),
            Route("/api/v1/costs", self.costs, methods=["GET"]),
            Route("/api/v1/objects/{address}", self.stat, methods=["GET"]),
            Route("/api/v1/objects/{address}", self.rm, methods=["DELETE"]),
        ]

    async def put(self, request: Request) -> Response:
        """Store the request body; `?name=`, `?durability=` and `?kind=input` are optional.

        An input ends with the tasks that use it.
        """
        durability, kind, name = how_to_keep(request)
        mark = Mark(kind, person=asker_of(request).person)
        async with aclosing(request.stream()) as body:
            receipt = await self._node.objects.put(
                body, name=name, durability=durability, mark=mark
            )
        return reply(receipt_json(receipt), 201)

    async def ls(self, request: Request) -> Response:
        """The asker's objects, oldest first; with `?survives=1` what each survives now."""
        await self._node.estate.settled()
        entries = [entry for entry in self._entries(request) if entry.mark.kind not in _HIDDEN]
        survives: dict[Address, str] = {}
        if flag(request, "survives"):
            kept = [entry.cap.address for entry in entries if not entry.removed_ms]
            survives = await survivals(self._node.objects, kept)
        lines = [line_json(entry, survives.get(entry.cap.address, "")) for entry in entries]
        return reply(self._shown(request, lines))

    async def same(self, request: Request) -> Response:
        """The asker's object with the same plaintext, if it is whole; it stays for an hour."""
        wanted = await body_as(SameRequest, request)
        person = asker_of(request).person
        for entry in self._node.objects.same(bytes.fromhex(wanted.digest)):
            address = entry.cap.address
            if entry.mark.person != person or self._is_locked(entry):
                continue
            if await is_whole(self._node.objects, address):
                self._node.estate.claim(address)
                return reply(self._shown(request, line_json(entry)))
        raise ObjectUnknownError("nothing of yours has that content: store it")

    async def costs(self, request: Request) -> Response:
        """What the asker's things cost, by task; puts under way as `unfinished`."""
        await self._node.estate.settled()
        person = asker_of(request).person
        puts = [put for put in self._node.objects.unfinished() if put.mark.person == person]
        kept = [entry for entry in self._entries(request) if not entry.removed_ms]
        return reply(costs_of(kept, puts))

    def _shown(self, request: Request, value: object) -> object:
        return shown(request, value, self._node.household.seals)

    def _is_locked(self, entry: ObjectEntry) -> bool:
        try:
            self._node.household.seals.open_cap(entry.mark.person, entry.cap)
        except PersonLockedError:
            return True
        return False

    def _entries(self, request: Request) -> list[ObjectEntry]:
        person = asker_of(request).person
        return [entry for entry in self._node.objects.entries() if entry.mark.person == person]

    async def read(self, request: Request) -> Response:
        """Stream plaintext. Errors before the first byte are problems, later ones cut it short."""
        wanted = await body_as(ReadRequest, request)
        if wanted.cap == LOCKED:
            raise PersonLockedError(f"what rests here of you is sealed: {HINT}")
        cap = parse_cap(wanted.cap)
        chunks = self._chunks(cap, wanted)
        assert isinstance(chunks, AsyncGenerator)
        with self._removed_is_named(request, cap.address):
            first = await anext(chunks, b"")
        return Stream(_from_first(first, chunks), media_type="application/octet-stream")

    @contextmanager
    def _removed_is_named(self, request: Request, address: Address) -> Iterator[None]:
        """What the asker removed is said to be that, and not an address that nobody knows."""
        try:
            yield
        except (ObjectUnknownError, ObjectDegradedError) as error:
            gone = self._node.objects.removed(address)
            if gone is None or gone.person != asker_of(request).person:
                raise
            raise ObjectUnknownError(
                f"{gone.name or 'it'} was removed on {day_and_time(gone.at_ms)}: put it again if "
                "you have it still"
            ) from error

    def _chunks(self, cap: ReadCap, wanted: ReadRequest) -> AsyncIterator[bytes]:
        return read(self._node.objects, cap, start=wanted.start, length=wanted.length)

    async def stat(self, request: Request) -> Response:
        """Where the shards are and what the object survives now."""
        address = address_of(request.path_params["address"])
        with self._removed_is_named(request, address):
            detail = detail_json(await self._node.objects.stat(address))
        if all(entry.cap.address != address for entry in self._entries(request)):
            detail = msgspec.structs.replace(detail, name="", expires_ms=0)  # another's, if at all
        return reply(detail)

    async def rm(self, request: Request) -> Response:
        """Give up an object of the asker's; holders that are away do so when they are back.

        With `?as_lab=1` an object of anybody of the lab whose key lies here; `?reason=` says why.
        """
        address = address_of(request.path_params["address"])
        if flag(request, "as_lab"):
            return _removed(await self._node.remove_as_lab(address, lab_reason(request)))
        await self._node.estate.settled()
        ours = (entry for entry in self._entries(request) if entry.mark.kind != ObjectKind.PACK)
        if any(entry.cap.address == address for entry in ours):
            gone = await self._node.objects.forget(address)
        else:
            gone = await self._put_elsewhere(request, address)
        return _removed(gone)

    async def _put_elsewhere(self, request: Request, address: Address) -> Forgotten:
        """Give up what another machine of this node's owner put. Raises ObjectUnknownError."""
        is_listed = any(entry.cap.address == address for entry in self._node.objects.entries())
        if not is_listed and not asker_of(request).person:
            with suppress(ObjectUnknownError, ManifestError):
                gone = await self._node.objects.remove(address)
                if gone is not None:
                    return gone
        with self._removed_is_named(request, address):
            raise ObjectUnknownError(
                "no object of yours has that address: see `swarmnode obj ls` here, and where you "
                "put it"
            )
        raise AssertionError


def how_to_keep(request: Request) -> tuple[Durability, str, str]:
    """Durability, kind and name that the query asks for. Raises ValidationError."""
    asked = request.query_params.get("durability", Durability.DURABLE.value)
    if asked not in tuple(Durability):
        raise msgspec.ValidationError(f"durability is one of {', '.join(Durability)}")
    kind = request.query_params.get("kind", "")
    if kind not in ("", ObjectKind.INPUT):
        raise msgspec.ValidationError("kind is input, or left out")
    name = request.query_params.get("name", "")
    if len(name) > OBJECT_NAME_CHARS_MAX:
        raise msgspec.ValidationError(f"a name has at most {OBJECT_NAME_CHARS_MAX} characters")
    return Durability(asked), kind, name


async def _from_first(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        try:
            async for chunk in rest:
                yield chunk
        except (StorageError, OutputUnsafeError) as exc:  # removed, its holders gone, or no folder
            log.warning("an object could not be read to its end: %s", exc)
            raise CutShort from exc


def _removed(gone: Forgotten | None) -> Response:
    if gone is None:
        return reply(RemoveReply(changed=False))
    holders, waiting = len(gone.holders), gone.waiting
    return reply(RemoveReply(True, holders, holders - len(waiting), waiting))
