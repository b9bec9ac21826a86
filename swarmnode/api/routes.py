"""Every path the local API serves."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarmnode.api.events import EventHub
from swarmnode.api.face import NodeFace
from swarmnode.api.openapi import OpenApiRoutes
from swarmnode.api.routes_events import EventRoutes
from swarmnode.api.routes_node import NodeRoutes
from swarmnode.api.routes_objects import ObjectRoutes
from swarmnode.api.routes_people import PeopleRoutes
from swarmnode.api.routes_tasks import TaskRoutes
from swarmnode.api.tokens import NO_TOKENS, TokenBook


class MetricsRoutes:
    """The handler of /metrics."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [Route("/metrics", self.metrics, methods=["GET"])]

    async def metrics(self, request: Request) -> Response:
        """Numbers for Prometheus."""
        from swarmnode.api.metrics import CONTENT_TYPE, render  # seldom needed, slow to load

        return Response(render(self._node.status()), media_type=CONTENT_TYPE)


def all_routes(node: NodeFace, hub: EventHub, tokens: TokenBook = NO_TOKENS) -> list[Route]:
    """The whole table. `hub` must run beside the app: give `hub.run` to the ApiServer."""
    routes = [
        *NodeRoutes(node).routes(),
        *MetricsRoutes(node).routes(),
        *ObjectRoutes(node).routes(),
        *TaskRoutes(node).routes(),
        *EventRoutes(hub).routes(),
        *PeopleRoutes(node, tokens).routes(),
    ]
    return [*routes, *OpenApiRoutes(routes).routes()]
