"""A registry on this machine that can be told to be slow of mind, to lie or to break off."""

import gzip
import hashlib
import json
import os
import platform
import re
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from swarmnode.project.images.saved import image_at
from swarmnode.project.registry.client import Registry
from swarmnode.project.registry.layers import brought
from swarmnode.project.registry.logins import Login
from swarmnode.project.registry.pull import Documents, RemoteImage
from swarmnode.project.registry.reference import reference_of
from tests.image_lab import Item, layer, settings_of

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"

LAYERS = [layer(Item("a", os.urandom(3000))), layer(Item("b", b"2"))]
PACKED = [gzip.compress(one) for one in LAYERS]
MACHINE = platform.machine()
LOGIN = Login("Basic " + b64encode(b"me:secret").decode())


@dataclass
class Shelf:
    """What a registry has, and how it behaves."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """By digest and by tag: media type and bytes."""
    login: str = ""
    """`user:password` that is wanted, if any."""
    gives_tokens: bool = False
    identity_token: str = ""
    """Wanted instead of a login by who gives tokens, if any."""
    forms: list[dict[str, str]] = field(default_factory=list)
    """What was posted for tokens."""
    token_uses: int = 1000
    """So many requests a token lasts."""
    realm: str = ""
    leads_to: str = ""
    """Another address, where its blobs are."""
    cuts: int = 0
    """So many blobs break off in the middle; of very many, none gets any further."""
    has_ranges: bool = True
    says_digests: bool = True
    answers: int = 0
    """Instead of anything else, if not 0."""
    busy: dict[str, int] = field(default_factory=dict)
    """Of paths with that in it, so many requests are too many."""
    again_in: str = ""
    """What it says of when to ask again then."""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers of each request."""
    address: str = ""
    tokens: int = 0
    uses: int = 0

    def paths(self, part: str) -> list[str]:
        """What was asked for."""
        return [f"{method} {path}" for method, path, _ in self.asked if part in path]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image_on(
    shelf: Shelf,
    name: str,
    packed: Sequence[bytes],
    settings: bytes,
    *,
    family: str = OCI,
    tag: str = "1",
) -> str:
    """Put an image there, its layers packed as they are; the digest of its manifest."""
    is_oci = family == OCI

    def named(data: bytes, kind: str) -> dict[str, object]:
        shelf.blobs[digest_of(data)] = data
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    config = f"{OCI}.config.v1+json" if is_oci else f"{DOCKER}.container.image.v1+json"
    kind = f"{OCI}.manifest.v1+json" if is_oci else f"{DOCKER}.distribution.manifest.v2+json"
    layer = f"{OCI}.layer.v1.tar+gzip" if is_oci else f"{DOCKER}.image.rootfs.diff.tar.gzip"
    document = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": named(settings, config),
        "layers": [named(one, layer) for one in packed],
    }
    return manifest_on(shelf, kind, json.dumps(document).encode(), tag)


def manifest_on(shelf: Shelf, kind: str, data: bytes, tag: str) -> str:
    for which in (digest_of(data), tag):
        shelf.manifests[which] = (kind, data)
    return digest_of(data)


def index_on(shelf: Shelf, images: dict[str, str], tag: str, family: str = OCI) -> str:
    """One for several machines: architecture, perhaps with a variant -> digest of its manifest."""
    kind = (
        f"{OCI}.index.v1+json" if family == OCI else f"{DOCKER}.distribution.manifest.list.v2+json"
    )
    named = [
        {
            "mediaType": shelf.manifests[digest][0],
            "digest": digest,
            "size": len(shelf.manifests[digest][1]),
            "platform": dict(zip(("architecture", "variant"), machine.split("/"), strict=False))
            | {"os": "linux"},
        }
        for machine, digest in images.items()
    ]
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": named}
    return manifest_on(shelf, kind, json.dumps(document).encode(), tag)


def settings_for(layers: Sequence[bytes], machine: str = "", mark: str = "") -> bytes:
    return settings_of(layers, [f"MARK={mark}"] if mark else [], machine=machine)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shelf: Shelf

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.shelf.forms.append({key: values[0] for key, values in form.items()})
        self._serve()

    def _serve(self) -> None:
        shelf = self.shelf
        shelf.asked.append((self.command, self.path, dict(self.headers.items())))
        for part, left in shelf.busy.items():
            if part in self.path and left:
                shelf.busy[part] -= 1
                told = {"Retry-After": shelf.again_in} if shelf.again_in else {}
                self._answer(429, b'{"errors":[{"message":"as told"}]}', told)
                return
        if self.path.startswith("/token"):
            self._token()
        elif shelf.answers:
            self._answer(shelf.answers, b'{"errors":[{"message":"as told"}]}')
        elif not self._is_let_in():
            self._challenge()
        elif match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", self.path):
            self._manifest(match[2])
        elif match := re.fullmatch(r"/v2/(.+)/blobs/(.+)", self.path):
            self._blob(match[2])
        else:
            self._answer(200 if self.path == "/v2/" else 404, b"{}")

    def _is_let_in(self) -> bool:
        shelf, given = self.shelf, self.headers.get("Authorization", "")
        if shelf.gives_tokens:
            shelf.uses += 1
            return given == f"Bearer token-{shelf.tokens}" and shelf.uses <= shelf.token_uses
        return not shelf.login or given == _basic(shelf.login)

    def _challenge(self) -> None:
        is_tls = isinstance(self.connection, ssl.SSLSocket)
        realm = self.shelf.realm or f"http{'s' if is_tls else ''}://{self.shelf.address}/token"
        told = f'Bearer realm="{realm}",service="lab",scope="repository:all:push,pull"'
        kind = told if self.shelf.gives_tokens else 'Basic realm="lab"'
        self._answer(401, b'{"errors":[{"message":"who are you"}]}', {"WWW-Authenticate": kind})

    def _token(self) -> None:
        shelf = self.shelf
        is_post = self.command == "POST"
        if shelf.identity_token or is_post:
            given = shelf.forms[-1].get("refresh_token") if is_post else ""
            if not given or given != shelf.identity_token:
                self._answer(401 if shelf.identity_token else 405, b"{}")
                return
        if shelf.login and self.headers.get("Authorization") != _basic(shelf.login):
            self._answer(401, b"{}")
            return
        shelf.tokens, shelf.uses = shelf.tokens + 1, 0
        name = "access_token" if is_post else "token"
        self._answer(200, json.dumps({name: f"token-{shelf.tokens}"}).encode())

    def _manifest(self, which: str) -> None:
        if which not in self.shelf.manifests:
            self._answer(404, b'{"errors":[{"message":"manifest unknown"}]}')
            return
        kind, data = self.shelf.manifests[which]
        told = {"Docker-Content-Digest": digest_of(data)} if self.shelf.says_digests else {}
        self._answer(200, data, {"Content-Type": kind, **told})

    def _blob(self, digest: str) -> None:
        shelf = self.shelf
        if shelf.leads_to:
            self._answer(307, b"", {"Location": f"{shelf.leads_to}/v2/elsewhere/blobs/{digest}"})
            return
        if digest not in shelf.blobs:
            self._answer(404, b"{}")
            return
        data, status, told = shelf.blobs[digest], 200, {}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and shelf.has_ranges:
            at = int(start[1])
            told = {"Content-Range": f"bytes {at}-{len(data) - 1}/{len(data)}"}
            data, status = data[at:], 206
        self._answer(status, data, told, breaks_off=len(data) > 1000)

    def _answer(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        *,
        breaks_off: bool = False,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if breaks_off and self.shelf.cuts:
            self.shelf.cuts -= 1
            is_stuck = status == 206 and self.shelf.cuts > 100
            self.wfile.write(b"" if is_stuck else data[: len(data) // 2])
            self.close_connection = True
            return
        self.wfile.write(data)


def _basic(login: str) -> str:
    return "Basic " + b64encode(login.encode()).decode()


@contextmanager
def registry(shelf: Shelf, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Its address; with TLS by the name localhost."""
    handler = type("_Of", (_Handler,), {"shelf": shelf})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        shelf.address = f"{'localhost' if tls else '127.0.0.1'}:{server.server_address[1]}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield shelf.address
        finally:
            server.shutdown()
            thread.join()


def looked(
    folder: Path, address: str, which: str = "x:1", login: Login = LOGIN
) -> tuple[RemoteImage, Documents, Registry]:
    reference = reference_of(f"docker://{address}/{which}")
    asked = Registry(reference, login)
    documents = Documents(reference, asked, folder, wait=lambda s: None)
    return documents.look(MACHINE), documents, asked


def fetched(folder: Path, address: str, which: str = "x:1", login: Login = LOGIN) -> str:
    """The digest of the image in the layout that was brought."""
    image, documents, asked = looked(folder, address, which, login)
    with brought(image, asked, documents, lambda size: None, wait=lambda s: None) as layout:
        for one in image.layers:
            assert digest_of((layout / "blobs/sha256" / one.digits).read_bytes()) == one.digest
        return image_at(layout).digest
