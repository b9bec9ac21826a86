"""The CLI's way to the node: HTTP over its unix socket, by the standard library alone."""

import contextlib
import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = Any
"""What a node answers, as JSON has it.

swarmnode.api.schema says of which types its parts are; no command loads that: it starts at once.
"""
Document: TypeAlias = dict[str, Json]
"""A JSON object: a line or the whole of what a node tells, or a spec on its way there."""

CHUNK_BYTES = 256 * 1024
WAIT_STEP_S = 0.05
READY_STEP_S = 0.01
START_S = 15.0
"""A node that has just been started loads its tables: seconds on a busy machine."""


_ADDRESS = re.compile(
    r"http://[^/?#@:\[\]\s]+(:[0-9]{1,5})?/?|http://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?/?"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Source(Protocol):
    """What an upload reads. Its own errors are never OSError: those are the connection's."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; none at the end."""


class NodeUnreachableError(Exception):
    """No node answers on the socket, or it went away in the middle."""


class ClientSettingError(Exception):
    """SWARM_API or SWARM_TOKEN_FILE cannot be used: the text names the remedy."""


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
        give_up = time.monotonic() + START_S
        while True:
            try:
                self.sock.connect(str(self._path))
            except BlockingIOError:  # so many wait already: the kernel does not queue us
                if time.monotonic() >= give_up:
                    raise
                threading.Event().wait(WAIT_STEP_S)
            else:
                return


@dataclass(frozen=True, slots=True)
class Client:
    """One node's API: a unix socket path, or an http:// URL with a bearer token."""

    socket_path: Path
    url: str = ""
    token: str = ""
    timeout_s: float | None = 60.0

    def get(self, path: str, *, timeout_s: float | None = None) -> Json:
        """GET a JSON document. Raises NodeUnreachableError, ApiError."""
        return self.call("GET", path, timeout_s=timeout_s)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout_s: float | None = None,
    ) -> Json:
        """One JSON request. Raises NodeUnreachableError, ApiError."""
        data = None if body is None else _packed(body)
        with self._request(method, path, data, timeout_s) as response:
            return self._document(response)

    def upload(self, path: str, source: Source) -> Json:
        """POST a stream of any length, chunked.

        A node that cannot take it answers early; that answer is what is raised.
        """
        self._wait_started()
        chunks = iter(lambda: source.read(CHUNK_BYTES), b"")
        with self._request("POST", path, chunks, None, no_limit=True) as response:
            return self._document(response)

    def _document(self, response: http.client.HTTPResponse) -> Json:
        text = self._all_of(response)
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            where = self.url or self.socket_path
            raise NodeUnreachableError(f"what answers at {where} is not a Swarm node") from error

    def _all_of(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NodeUnreachableError(self._went_away(error)) from error

    def download(self, path: str, body: object) -> Generator[bytes, None, None]:
        """POST a JSON request, yield the answer's bytes as they come.

        Raises ApiError; NodeUnreachableError when the node went away in the middle, and EOFError
        when it lives and cut the stream short.
        """
        data = _packed(body)
        with self._request("POST", path, data, None, no_limit=True) as response:
            try:
                yield from _chunks(response)
            except EOFError as error:
                self._refuse_gone(error)
                raise

    def _refuse_gone(self, error: EOFError) -> None:
        """Raises NodeUnreachableError where nobody answers any more."""
        connection = self._connection(self.timeout_s)
        try:
            connection.connect()
        except (OSError, UnicodeError) as gone:
            raise NodeUnreachableError(self._went_away(error.__cause__ or gone)) from error
        finally:
            connection.close()

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
        give_up = time.monotonic() + START_S
        while True:
            connection = self._connection(limit_s)
            try:
                response = self._answer(connection, method, path, data)
                if response.status < 300:
                    yield response
                    return
                problem = _api_error(response, self._all_of(response))
            finally:
                connection.close()
            may_repeat = isinstance(data, bytes | None) and time.monotonic() < give_up
            if problem.code != "starting" or not may_repeat:
                raise problem
            threading.Event().wait(WAIT_STEP_S)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # the latter: what is no name of a host
            raise NodeUnreachableError(self._unreachable(error)) from error

    def _answer(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        data: bytes | Iterator[bytes] | None,
    ) -> http.client.HTTPResponse:
        """Send a request; the answer, also one that comes before everything was sent."""
        headers = {"Content-Type": "application/json"} if isinstance(data, bytes) else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        chunked = not isinstance(data, bytes | None)
        self._connect(connection)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, data, headers, encode_chunked=chunked)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise NodeUnreachableError(self._went_away(error)) from error

    def _wait_started(self) -> None:
        give_up = time.monotonic() + START_S
        while self.get("/api/v1/status")["state"] == "starting" and time.monotonic() < give_up:
            threading.Event().wait(WAIT_STEP_S)

    def _connection(self, timeout_s: float | None) -> http.client.HTTPConnection:
        if self.url:
            host = self.url.removeprefix("http://").rstrip("/")
            return http.client.HTTPConnection(host, timeout=timeout_s)
        return _UnixConnection(self.socket_path, timeout_s)

    def _unreachable(self, error: BaseException) -> str:
        where = self.url or self.socket_path
        if isinstance(error, PermissionError):
            return f"{where} belongs to another user: set SWARM_HOME to a folder of your own"
        plain = isinstance(error, FileNotFoundError | ConnectionRefusedError)
        why = "" if plain else f" ({error})"
        remedy = "start one with `swarmnode up`"
        if self.url:
            remedy = "correct SWARM_API, or start that node with --api-tcp"
        return f"no node answers at {where}{why}: {remedy}"

    def _went_away(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return f"the node at {self.url or self.socket_path} did not answer in time: try again"
        return f"the node went away in the middle ({error}): when it is back, try again"

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
            idle.wait(READY_STEP_S)
        raise NodeUnreachableError(f"not ready within {within_s:.0f} s: {last}")


def _packed(body: object) -> bytes:
    """As JSON. Raises ApiError for a value that is no text: what is deeper the node names."""
    for key, value in body.items() if isinstance(body, dict) else ():
        if isinstance(value, str) and _SURROGATE.search(value):
            why = f"{key}: {value!r} is not UTF-8"
            raise ApiError(400, "bad_request", "the request is wrong", why)
    return json.dumps(body).encode()


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (http.client.IncompleteRead, OSError) as error:
            raise EOFError("the node cut the stream short: try again") from error
        if not chunk:
            return
        yield chunk


def _api_error(response: http.client.HTTPResponse, text: bytes) -> ApiError:
    try:
        problem = json.loads(text)
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict):  # something else than a node answers
        shown = text.decode(errors="replace").strip()
        return ApiError(response.status, "error", shown or response.reason, "")
    return ApiError(
        response.status,
        str(problem.get("code", "error")),
        str(problem.get("title") or response.reason),
        str(problem.get("detail", "")),
    )


def client_from_environment(home_socket: Path) -> Client:
    """SWARM_API (URL or socket path) and SWARM_TOKEN_FILE win over the node's own socket.

    Raises ClientSettingError.
    """
    api = os.environ.get("SWARM_API", "")
    if not api:
        return Client(home_socket)
    if api.startswith("/"):
        return Client(Path(api))
    if not _ADDRESS.fullmatch(api):
        raise ClientSettingError(f"SWARM_API={api}: write http://HOST:PORT or a socket's path")
    return Client(home_socket, api, _token(os.environ.get("SWARM_TOKEN_FILE", "")))


def _token(file: str) -> str:
    if not file:
        return ""
    try:
        token = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ClientSettingError(f"SWARM_TOKEN_FILE={file} cannot be read: {why}") from error
    if not token.isascii() or not token.isprintable():
        raise ClientSettingError(f"SWARM_TOKEN_FILE={file} does not hold a token")
    return token
