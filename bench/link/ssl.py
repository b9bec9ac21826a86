"""The link bench's ends on a bare trio SSLStream: TLS 1.3 with no streams and no framing."""

import datetime
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.link.worker import SINK, Client, Pipe, read_exactly

RECEIVE_BYTES = 256 * 1024


def write_certificate(folder: Path) -> None:
    """A fresh self-signed certificate and its key, as cert.pem and key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class SslPipe:
    """The whole connection as one stream."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    async def write(self, data: bytes) -> None:
        """Send all bytes."""
        await self._stream.send_all(data)

    async def read(self, size_max: int) -> bytes:
        """The next bytes."""
        return bytes(await self._stream.receive_some(size_max))

    async def close(self) -> None:
        """Close the connection."""
        await self._stream.aclose()


async def server(folder: Path) -> None:
    """Print `port folder`, then swallow until terminated."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def handle(socket: trio.SocketStream) -> None:
        stream = trio.SSLStream(socket, context, server_side=True, https_compatible=True)
        wanted = int.from_bytes(await read_exactly(SslPipe(stream), 8))
        received = 0
        with suppress(trio.BrokenResourceError):  # a client that had no fixed size has gone
            while received < wanted and (data := await stream.receive_some(RECEIVE_BYTES)):
                received += len(data)
            await stream.send_all(received.to_bytes(8))
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        print(f"{listeners[0].socket.getsockname()[1]}:{folder}", flush=True)


class SslClient:
    """A connection per stream."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port, self._context = port, context

    async def open(self, protocol: str, first: bytes) -> Pipe:
        """Connect, shake hands, send the first bytes."""
        if protocol != SINK:
            raise ValueError("only bulk is measured here")
        socket = await trio.open_tcp_stream("127.0.0.1", self._port)
        stream = trio.SSLStream(
            socket, self._context, server_hostname="localhost", https_compatible=True
        )
        await stream.send_all(first)
        return SslPipe(stream)

    async def reconnect(self) -> float:
        """Connect once more."""
        began_s = trio.current_time()
        pipe = await self.open(SINK, bytes(8))
        await read_exactly(pipe, 8)
        took_s = trio.current_time() - began_s
        await pipe.close()
        return took_s

    async def rpc(self) -> None:
        """There is none."""
        raise NotImplementedError


async def client(address: str, then: Callable[[Client], Awaitable[None]]) -> None:
    """`address` is what the server printed: its port and the folder of the certificate."""
    port, _, folder = address.partition(":")
    context = ssl.create_default_context(cafile=Path(folder) / "cert.pem")
    await then(SslClient(int(port), context))


if __name__ == "__main__":
    trio.run(server, Path(sys.argv[1]))
