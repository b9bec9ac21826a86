"""A way to call an ASGI app without sockets."""

import json
from dataclasses import dataclass, field
from typing import Any

import trio
from starlette.types import Message

from swarmnode.api.access.asker import KEY, Principal
from swarmnode.api.app import Asgi


@dataclass(slots=True)
class Answered:
    """What came back so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    grew: trio.Event = field(default_factory=trio.Event)

    def json(self) -> Any:  # noqa: ANN401
        return json.loads(bytes(self.body))

    async def until(self, text: bytes) -> None:
        """Return once the body holds the text."""
        with trio.fail_after(5):
            while text not in self.body:
                await self.grew.wait()


def as_person(app: Asgi, person: str) -> Asgi:
    """The same, asked by another person of the machine."""

    async def asked(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await app({**scope, KEY: Principal(person)}, receive, send)

    return asked


async def call(
    app: Asgi,
    method: str,
    path: str,
    body: bytes | object = b"",
    *,
    headers: dict[str, str] | None = None,
    answered: Answered | None = None,
) -> Answered:
    """One request; `answered` is filled while the answer comes. Cancelling hangs up."""
    answer = answered or Answered()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    place, _, query = path.partition("?")
    given = {"host": "swarm", **(headers or {})}
    scope = {
        "type": "http", "method": method, "path": place, "raw_path": place.encode(),
        "query_string": query.encode(), "http_version": "1.1", "scheme": "http", "root_path": "",
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    parts = [data]

    async def receive() -> dict[str, object]:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        await trio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")
        answer.grew.set()
        answer.grew = trio.Event()

    await app(scope, receive, send)
    return answer
