"""The CLI's way to the node: HTTP over its unix socket, by the standard library alone."""

import contextlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 256 * 1024
WAIT_STEP_S = 0.05


class NodeUnreachableError(Exception):
    """No node answers on the socket."""


class ApiError(Exception):
    """The node said no: `code` is stable, the text names the remedy."""

    def __init__(self, status: int, code: str, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.status, self.code = status, code


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("swarm", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, slots=True)
class Client:
    """One node's API: a unix socket path, or an http:// URL with a bearer token."""

    socket_path: Path
    url: str = ""
    token: str = ""
    timeout_s: float | None = 60.0

    def get(self, path: str, *, timeout_s: float | None = None) -> Any:  # noqa: ANN401
        """GET a JSON document. Raises NodeUnreachableError, ApiError."""
        return self.call("GET", path, timeout_s=timeout_s)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout_s: float | None = None,
    ) -> Any:  # noqa: ANN401
        """One JSON request. Raises NodeUnreachableError, ApiError."""
        data = None if body is None else json.dumps(body).encode()
        with self._request(method, path, data, timeout_s) as response:
            text = response.read()
        return json.loads(text) if text else None

    def upload(self, path: str, source: IO[bytes]) -> Any:  # noqa: ANN401
        """POST a stream of any length, chunked."""
        chunks = iter(lambda: source.read(CHUNK_BYTES), b"")
        with self._request("POST", path, chunks, None, no_limit=True) as response:
            return json.loads(response.read())

    def download(self, path: str, body: object) -> Iterator[bytes]:
        """POST a JSON request, yield the answer's bytes as they come.

        Raises ApiError, and EOFError when the node cut the stream short.
        """
        data = json.dumps(body).encode()
        with self._request("POST", path, data, None, no_limit=True) as response:
            yield from _chunks(response)

    def stream(self, path: str) -> Iterator[bytes]:
        """GET, yielding bytes as they come; for logs and events."""
        with self._request("GET", path, None, None, no_limit=True) as response:
            yield from _chunks(response)

    @contextlib.contextmanager
    def _request(
        self,
        method: str,
        path: str,
        data: bytes | Iterator[bytes] | None,
        timeout_s: float | None,
        *,
        no_limit: bool = False,
    ) -> Iterator[http.client.HTTPResponse]:
        limit_s = None if no_limit else timeout_s or self.timeout_s
        connection = self._connection(limit_s)
        headers = {"Content-Type": "application/json"} if isinstance(data, bytes) else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            try:
                connection.request(
                    method, path, data, headers, encode_chunked=not isinstance(data, bytes | None)
                )
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise NodeUnreachableError(self._unreachable(error)) from error
            if response.status >= 400:
                raise _api_error(response)
            yield response
        finally:
            connection.close()

    def _connection(self, timeout_s: float | None) -> http.client.HTTPConnection:
        if self.url:
            host = self.url.removeprefix("http://").rstrip("/")
            return http.client.HTTPConnection(host, timeout=timeout_s)
        return _UnixConnection(self.socket_path, timeout_s)

    def _unreachable(self, error: BaseException) -> str:
        where = self.url or self.socket_path
        return f"no node answers at {where} ({error}): start one with `swarmnode run`"

    def wait_ready(self, within_s: float) -> None:
        """Return once /readyz says yes. Raises NodeUnreachableError when it never does."""
        deadline = time.monotonic() + within_s
        last = "it never answered"
        idle = threading.Event()
        while time.monotonic() < deadline:
            try:
                with self._request("GET", "/readyz", None, 2.0):
                    return
            except NodeUnreachableError as error:
                last = str(error)
            except ApiError as error:
                last = str(error)
            idle.wait(WAIT_STEP_S)
        raise NodeUnreachableError(f"not ready within {within_s:.0f} s: {last}")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (http.client.IncompleteRead, OSError) as error:
            raise EOFError("the node cut the stream short: try again") from error
        if not chunk:
            return
        yield chunk


def _api_error(response: http.client.HTTPResponse) -> ApiError:
    text = response.read()
    try:
        problem = json.loads(text)
    except ValueError:
        shown = text.decode(errors="replace").strip()
        return ApiError(response.status, "error", shown or response.reason, "")
    return ApiError(
        response.status,
        str(problem.get("code", "error")),
        str(problem.get("title", response.reason)),
        str(problem.get("detail", "")),
    )


def client_from_environment(home_socket: Path) -> Client:
    """SWARM_API (URL or socket path) and SWARM_TOKEN_FILE win over the node's own socket."""
    api = os.environ.get("SWARM_API", "")
    token_file = os.environ.get("SWARM_TOKEN_FILE", "")
    token = Path(token_file).read_text().strip() if token_file else ""
    if api.startswith("http://"):
        return Client(home_socket, api, token)
    return Client(Path(api) if api else home_socket)
