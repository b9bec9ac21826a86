"""Environments over HTTP: look for one by its key, take in what a task has built, forget it."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from storage.manifests.capability import parse_cap
from swarmnode.api.access.asker import asker_of
from swarmnode.api.face import NodeFace
from swarmnode.api.reply import body_as, reply
from swarmnode.api.schema.environments import (
    EnvironmentFound,
    EnvironmentLine,
    EnvironmentMade,
    EnvironmentWanted,
)
from swarmnode.environments.records import EnvironmentRow
from swarmnode.errors import EnvironmentDamagedError, TaskUnknownError
from swarmnode.tasks.environments.naming import KEY_BYTES
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.spec_load import built_as_dict


class EnvironmentRoutes:
    """Handlers under /api/v1/environments."""

    def __init__(self, node: NodeFace) -> None:
        self._node, self._environments = node, node.environments

    def routes(self) -> list[Route]:
        """The table of paths."""
        place = "/api/v1/environments"
        return [
            Route(place, self.ls, methods=["GET"]),
            Route(f"{place}/find", self.find, methods=["POST"]),
            Route(f"{place}/take", self.take, methods=["POST"]),
            Route(f"{place}/forget", self.forget, methods=["POST"]),
        ]

    async def ls(self, request: Request) -> Response:
        """Those that the asker has used, the last one first."""
        rows = self._environments.all(asker_of(request).person)
        return reply([self._line(row) for row in rows])

    async def find(self, request: Request) -> Response:
        """One of a key that may be used and can be read now."""
        wanted = await body_as(EnvironmentWanted, request)
        person = asker_of(request).person
        found = await self._environments.find(_key_in(wanted.key), wanted.source, person)
        if isinstance(found, EnvironmentRow):
            return reply(EnvironmentFound(self._line(found)))
        return reply(EnvironmentFound(None, found))

    async def take(self, request: Request) -> Response:
        """What a task of the asker's has built is used from now on, and told to others."""
        made = await body_as(EnvironmentMade, request)
        person = asker_of(request).person
        view = self._node.market.buyer.task(TaskId(made.task))
        if view.record.person != person:
            raise TaskUnknownError(f"no task {made.task}")
        if view.record.outcome is None:
            raise EnvironmentDamagedError(f"task {made.task} has not ended")
        row = await self._environments.take_in(
            _key_in(made.key),
            made.source,
            view.record.outcome.outputs,
            is_private=made.private,
            person=person,
        )
        return reply(self._line(row), 201)

    async def forget(self, request: Request) -> Response:
        """It is not used any more; an object of the asker's goes with it."""
        wanted = await body_as(EnvironmentWanted, request)
        row = await self._environments.forget(_key_in(wanted.key), asker_of(request).person)
        if row is None:
            return reply({"changed": False})
        address = parse_cap(row.known.record.built.cap).address
        if any(entry.cap.address == address for entry in self._node.objects.entries()):
            await self._node.objects.forget(address)
        return reply({"changed": True})

    def _line(self, row: EnvironmentRow) -> EnvironmentLine:
        record = row.known.record
        return EnvironmentLine(
            key=record.key.hex(),
            source=row.source,
            python=record.python,
            machine=record.built.machine,
            packages=record.packages,
            size=record.built.size_bytes,
            glibc=record.glibc,
            used_ms=row.used_ms,
            private=row.is_private,
            builder=row.known.sealed.sender,
            warm=self._environments.warm(record.built.name),
            built=built_as_dict(record.built),
        )


def _key_in(text: str) -> bytes:
    """Raises msgspec.ValidationError."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise msgspec.ValidationError(f"a key has {2 * KEY_BYTES} hexadecimal digits")
    return key
