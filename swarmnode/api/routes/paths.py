"""Every path the local API serves."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarmnode.api.access.tokens import NO_TOKENS, TokenBook
from swarmnode.api.events import EventHub
from swarmnode.api.face import NodeFace
from swarmnode.api.openapi import OpenApiRoutes
from swarmnode.api.routes.environments import EnvironmentRoutes
from swarmnode.api.routes.events import EventRoutes
from swarmnode.api.routes.folders import FolderRoutes
from swarmnode.api.routes.node import NodeRoutes
from swarmnode.api.routes.objects import ObjectRoutes
from swarmnode.api.routes.people import PeopleRoutes
from swarmnode.api.routes.secrets import SecretRoutes
from swarmnode.api.routes.tasks import TaskRoutes


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
        *FolderRoutes(node).routes(),
        *TaskRoutes(node).routes(),
        *SecretRoutes(node).routes(),
        *EnvironmentRoutes(node).routes(),
        *EventRoutes(hub).routes(),
        *PeopleRoutes(node, tokens).routes(),
    ]
    return [*routes, *OpenApiRoutes(routes).routes()]
