"""A lab of hosts: start processes in them, shape what lies between them, cut it apart."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from testnet.emulator.namespaces import Namespace, missing
from testnet.emulator.nat import NatKind
from testnet.emulator.shape import LinkShape

__all__ = ["EmulatedLab", "emulated_lab", "missing"]

_ROOT: Final = Path(__file__).parents[2]
_STOP_WITHIN_S: Final = 5.0


class EmulatedLab:
    """Hosts by name, 10.77.0.1 upwards; made by `emulated_lab`."""

    def __init__(self, hosts: dict[str, Namespace], router: "subprocess.Popen[str]") -> None:
        self._hosts = hosts
        self._router = router
        self._nats = 0
        self._processes: list[subprocess.Popen[str]] = []

    def address(self, host: str) -> str:
        """The host's IPv4 address."""
        return self._hosts[host].address

    def inside(self, host: str) -> tuple[str, ...]:
        """What a command begins with that runs in the host's network, and is else as it was."""
        return ("/usr/bin/nsenter", f"--net=/proc/{os.getpid()}/fd/{self._hosts[host].net_fd}")

    def start(self, host: str, argv: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a process in a host, with pipes to its stdin and stdout."""
        space = self._hosts[host]
        process = subprocess.Popen(  # noqa: S603 - the caller's own command
            argv,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=space.enter,
            pass_fds=(space.net_fd,),
        )
        self._processes.append(process)
        return process

    def shape(self, a: str, b: str, shape: LinkShape, back: LinkShape | None = None) -> None:
        """Shape the way from a to b, and the way back alike unless `back` is given."""
        self._ask("shape", pairs=[(a, b)], shape=shape.as_json())
        self._ask("shape", pairs=[(b, a)], shape=(back or shape).as_json())

    def shape_uplink(self, host: str, shape: LinkShape) -> None:
        """Put a line before all ways from a host: what it sends to anybody shares it."""
        self._ask("uplink", host=host, shape=shape.as_json())

    def shape_downlink(self, host: str, shape: LinkShape) -> None:
        """Put a line behind all ways to a host: what anybody sends to it shares it."""
        self._ask("downlink", host=host, shape=shape.as_json())

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut the groups apart; hosts in none keep every link."""
        listed = [list(group) for group in groups]
        self._ask(
            "cut",
            pairs=[
                (a, b)
                for one in listed
                for other in listed
                if one is not other
                for a in one
                for b in other
            ],
        )

    def put_behind_nat(self, kind: NatKind, *hosts: str) -> str:
        """Put hosts behind a translator of their own; returns its public address."""
        self._nats += 1
        public = f"10.77.200.{self._nats}"
        self._ask("nat", kind=kind, public=public, hosts=list(hosts))
        return public

    def heal(self) -> None:
        """End every partition."""
        self._ask("cut", pairs=[])

    def stats(self) -> dict[str, dict[str, int]]:
        """Per ordered pair (`h1>h2`): bytes carried, packets lost and dropped, queue's high."""
        return self._ask("stats")

    def _ask(self, op: str, **fields: object) -> dict[str, Any]:
        assert self._router.stdin is not None
        assert self._router.stdout is not None
        self._router.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self._router.stdin.flush()
        answer: dict[str, Any] = json.loads(self._router.stdout.readline())
        return answer

    def close(self) -> None:
        """End the processes that still run, then the router."""
        for process in list(self._processes):
            self.stop(process)
        _stop(self._router)

    def stop(self, process: "subprocess.Popen[str]") -> None:
        """End a process that was started here, whether it has ended or not."""
        self._processes.remove(process)
        _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


@contextmanager
def emulated_lab(names: Sequence[str], seed: int = 1) -> Iterator[EmulatedLab]:
    """Hosts with nothing between them yet; OSError where `missing()` says why."""
    hosts: dict[str, Namespace] = {}
    try:
        for number, name in enumerate(names, 1):
            hosts[name] = Namespace.make(f"10.77.{number >> 8}.{number & 255}")
        router = _start_router(hosts, seed)
        lab = EmulatedLab(hosts, router)
        try:
            yield lab
        finally:
            lab.close()
    finally:
        for space in hosts.values():
            space.close()


def _start_router(hosts: dict[str, Namespace], seed: int) -> "subprocess.Popen[str]":
    wires = {name: space.wire_fd for name, space in hosts.items()}
    router = subprocess.Popen(
        [sys.executable, "-m", "testnet.emulator.router"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=tuple(wires.values()),
    )
    assert router.stdin is not None
    assert router.stdout is not None
    addresses = {name: space.address for name, space in hosts.items()}
    setup = {"wires": wires, "addresses": addresses, "seed": seed}
    router.stdin.write(json.dumps(setup) + "\n")
    router.stdin.flush()
    if not router.stdout.readline():
        raise OSError(f"the router ended at once, code {router.wait()} in process {os.getpid()}")
    return router
