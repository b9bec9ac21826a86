"""Tasks with a network on an executor of this process, and servers that bear any name."""

import datetime
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from p2p.workers import ThreadWorkers
from swarmnode.executor.network.resolver import Resolver
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from tests.job_lab import MIB, PYTHON, spec

JOB = JobId("t.1")
TALK = """
import errno, os, socket, sys, time
def talk(host, port, text=b"hello"):
    with socket.create_connection((host, port), 20) as s:
        s.sendall(text)
        try: s.shutdown(socket.SHUT_WR)
        except OSError: pass  # reset already: the next read says so
        said = b""
        while piece := s.recv(65536): said += piece
        return said
"""


@asynccontextmanager
async def net_node(
    folder: Path,
    resolver: Resolver,
    private: Sequence[str] = (),
    environments: Mapping[str, Path] | None = None,
    *,
    has_mirror: bool = False,
) -> AsyncIterator[ProcessExecutor]:
    """A node's executor; jobs outlive it."""
    config = ExecutorConfig(net_private=tuple(private), has_mirror=has_mirror)
    executor = ProcessExecutor(
        folder, config, environments or {}, ThreadWorkers(), resolver=resolver
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(executor.run)
            if trouble := executor.trouble() or executor.net_trouble():
                pytest.skip(trouble)
            yield executor
            nursery.cancel_scope.cancel()


async def begin(
    executor: ProcessExecutor, script: str, *arguments: str, net: Sequence[str], **more: object
) -> None:
    """Start Python in a task that may reach these."""
    await executor.prepare(JOB)
    shape = {"memory_bytes": 512 * MIB, "pids_max": 64, **more}
    argv = (PYTHON, "-c", script, *arguments)
    await executor.start(spec(JOB, *argv, net=tuple(net), **shape))


async def end(executor: ProcessExecutor) -> tuple[int, str, str]:
    """Its exit code and what it printed."""
    ended = await executor.wait(JOB)
    logs = [await executor.read_log(JOB, name, 0, MIB) for name in ("stdout", "stderr")]
    return ended.code, logs[0].decode(), logs[1].decode()


async def said_so_far(executor: ProcessExecutor, words: str) -> None:
    """Return once the task has printed that."""
    said = b""
    while words.encode() not in said:
        await executor.log_grew(JOB, "stdout", len(said))
        said = await executor.read_log(JOB, "stdout", 0, MIB)


async def echo(stream: trio.SocketStream) -> None:
    """Says back all that it hears, then ends."""
    try:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass


class Authority:
    """A certificate authority of a test."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Its own certificate is `pem`; a server with these names has `context`."""
        key, issuer = ec.generate_private_key(ec.SECP256R1()), _name("a test")
        self.pem = folder / "ca.pem"
        ca = _certificate(issuer, issuer, key, key, x509.BasicConstraints(ca=True, path_length=0))
        self.pem.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        leaf = _certificate(_name("server"), issuer, leaf_key, key, alternatives)
        chain = folder / "chain.pem"
        chain.write_bytes(
            leaf.public_bytes(serialization.Encoding.PEM)
            + leaf_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(extension, critical=False)
        .sign(signer, hashes.SHA256())
    )
