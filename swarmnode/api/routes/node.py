"""The node itself over HTTP: health, status, peers, the owner's pause."""

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from p2p.ids import PeerId
from swarmnode.api.access.asker import asker_of
from swarmnode.api.face import NodeFace
from swarmnode.api.limits import API_PINGS_MAX
from swarmnode.api.reply import body_as, reply
from swarmnode.api.schema.node import JoinRequest, PauseRequest, PhraseRequest, Pong, RemoveRequest


class NodeRoutes:
    """Handlers for /healthz, /readyz and /api/v1/{status,peers,members,node}."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/api/v1/status", self.status, methods=["GET"]),
            Route("/api/v1/peers", self.peers, methods=["GET"]),
            Route("/api/v1/peers/{peer}/ping", self.ping, methods=["POST"]),
            Route("/api/v1/members", self.members, methods=["GET"]),
            Route("/api/v1/members/remove", self.remove, methods=["POST"]),
            Route("/api/v1/members/phrase", self.phrase, methods=["POST"]),
            Route("/api/v1/join", self.join, methods=["POST"]),
            Route("/api/v1/node/pause", self.pause, methods=["POST"]),
            Route("/api/v1/node/resume", self.resume, methods=["POST"]),
        ]

    async def healthz(self, request: Request) -> Response:
        """The loop is alive: it just ran this."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """503 with reasons until the node can serve."""
        reasons = self._node.not_ready()
        text = "".join(f"{reason}\n" for reason in reasons)
        return PlainTextResponse(text or "ok\n", 503 if reasons else 200)

    async def status(self, request: Request) -> Response:
        """Health first, then everything `swarmnode status` shows."""
        return reply(self._node.status(asker_of(request).person))

    async def peers(self, request: Request) -> Response:
        """Every member we know."""
        return reply(self._node.peer_lines())

    async def ping(self, request: Request) -> Response:
        """Measure round trips to one peer."""
        text = request.query_params.get("count", "4")
        if not text.isdecimal() or not 1 <= int(text) <= API_PINGS_MAX:
            raise msgspec.ValidationError(f"count is a number from 1 to {API_PINGS_MAX}")
        peer = PeerId(request.path_params["peer"])
        return reply(Pong(peer, await self._node.ping(peer, int(text))))

    async def members(self, request: Request) -> Response:
        """The people of the network, and those who were removed."""
        return reply(self._node.people_lines())

    async def remove(self, request: Request) -> Response:
        """Remove a person, machine, lab or invite, for everybody and for good."""
        wanted = await body_as(RemoveRequest, request)
        done = await self._node.remove_from_network(wanted.who, with_invited=wanted.with_invited)
        return reply(done)

    async def phrase(self, request: Request) -> Response:
        """The recovery phrase of somebody who let the lab's key bring them back; all are told."""
        wanted = await body_as(PhraseRequest, request)
        return reply(await self._node.phrase_by_lab(wanted.who))

    async def join(self, request: Request) -> Response:
        """Join through an address now."""
        wanted = await body_as(JoinRequest, request)
        return reply({"peer": await self._node.join_through(wanted.address)})

    async def pause(self, request: Request) -> Response:
        """The owner takes the machine back."""
        wanted = await body_as(PauseRequest, request)
        grace_s = self._node.pause_grace_s if wanted.grace_s is None else wanted.grace_s
        await self._node.market.seller.pause(grace_s)
        return reply({"paused": True})

    async def resume(self, request: Request) -> Response:
        """Lend the machine again."""
        await self._node.market.seller.resume()
        return reply({"paused": False})
