"""Imports libp2p without the transports and services we never use.

`import libp2p` pulls in QUIC, WebRTC, HTTP clients, DNS servers, mDNS and more: 0.9 s and 40 MB of
every node, and code that hostile bytes could reach. `lean()` puts a finder in front of the import
system while libp2p is imported; it answers for the packages below with hollow modules, whose every
name is a class that does nothing. What libp2p does not use, it does not miss; what it would use
without our knowing fails loudly, because a hollow class has no attributes.
"""

import importlib.abc
import importlib.machinery
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Final

HOLLOW: Final = (
    "Crypto",  # RSA identities: ours are Ed25519
    "aioquic",  # QUIC: 2-4 MB/s, unusable
    "aiortc",  # WebRTC prototype
    "coincurve",  # Secp256k1 identities: ours are Ed25519
    "dns",  # dnsaddr resolving; we resolve names ourselves
    "fastecdsa",  # only for secio, which we never offer
    "grpc",  # autonat's generated service stubs
    "h2",
    "httpx",  # AutoTLS and ACME clients
    "ifaddr",
    "miniupnpc",  # UPnP
    "prometheus_client",
    "pylsqpack",
    "requests",  # AutoTLS and ACME clients
    "rich",
    "rpcudp",
    "service_identity",
    "trio_websocket",
    "wsproto",
    "zeroconf",  # mDNS
    "libp2p.bitswap",
    "libp2p.discovery.bootstrap",
    "libp2p.discovery.mdns",
    "libp2p.discovery.upnp",
    "libp2p.relay",
    "libp2p.security.tls",
    "libp2p.security.secio",
    "libp2p.transport.quic",
    "libp2p.transport.webrtc",
    "libp2p.transport.websocket",
    "libp2p.transport.webtransport",
)
"""Top packages and libp2p subpackages that a TCP, Noise and Yamux node never runs."""


class HollowClass(Exception):
    """Stands for a class of a package we leave out: may be named, subclassed, never used."""


class HollowModule(ModuleType):
    """A module in which every public name is a HollowClass."""

    __path__: list[str]

    def __getattr__(self, name: str) -> type[HollowClass]:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__} is left out; it has no {name}")
        made = type(name, (HollowClass,), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class HollowFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for HOLLOW packages and everything below them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A hollow module for what is left out, None for the rest."""
        if any(fullname == name or fullname.startswith(f"{name}.") for name in HOLLOW):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """An empty HollowModule."""
        return HollowModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


@contextmanager
def lean() -> Iterator[None]:
    """While this is open, HOLLOW packages are hollow for whoever imports them first.

    Afterwards the hollow third-party modules are forgotten, so that another importer in this
    process gets the real ones. libp2p's own logging set-up is undone.
    """
    before = set(sys.modules)
    finder = HollowFinder()
    sys.meta_path.insert(0, finder)
    debug = os.environ.pop("LIBP2P_DEBUG", None)
    try:
        yield
    finally:
        if debug is not None:
            os.environ["LIBP2P_DEBUG"] = debug
        sys.meta_path.remove(finder)
        for name in sorted(set(sys.modules) - before):
            if isinstance(sys.modules[name], HollowModule) and not name.startswith("libp2p."):
                del sys.modules[name]
        _silence()


def _silence() -> None:
    """No line of libp2p's reaches stderr: what matters, this package says itself."""
    logger = logging.getLogger("libp2p")
    logger.handlers[:] = [logging.NullHandler()]
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False
    swarm_connection = sys.modules.get("libp2p.network.connection.swarm_connection")
    if swarm_connection is not None:
        # It logs through the root logger, which would set up handlers for the whole process.
        swarm_connection.logging = logger  # type: ignore[attr-defined]
