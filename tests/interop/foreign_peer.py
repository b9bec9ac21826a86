"""Libp2p peers of other makers in processes of their own, told what to do in lines of JSON."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

HERE: Final = Path(__file__).parent
CACHE: Final = HERE / ".cache"
NPM_WITHIN_S: Final = 300


class ForeignPeer:
    """A running peer; one order at a time."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._heard = b""
        self._lines: deque[bytes] = deque()
        self.about: dict[str, Any] = {}

    @property
    def peer(self) -> str:
        return str(self.about["peer"])

    async def do(self, order: str, **what: object) -> dict[str, Any]:
        """What came of an order; fails the test when nothing did."""
        answer = await self.tries(order, **what)
        assert answer["ok"], f"{order}: {answer['error']}"
        return answer

    async def tries(self, order: str, **what: object) -> dict[str, Any]:
        """The same for orders that may fail: `ok` or `error`."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"order": order, **what}).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """The next line the peer writes."""
        assert self._process.stdout is not None
        while not self._lines:
            data = await self._process.stdout.receive_some()
            assert data, "the foreign peer ended"
            *whole, self._heard = (self._heard + data).split(b"\n")
            self._lines += whole
        answer: dict[str, Any] = json.loads(self._lines.popleft())
        return answer


@asynccontextmanager
async def running(command: Sequence[str]) -> AsyncIterator[ForeignPeer]:
    """Start a peer; it ends with the block."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HERE
    )
    try:
        peer = ForeignPeer(process)
        with trio.fail_after(30):
            peer.about = await peer.answer()
        yield peer
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


def js_command() -> list[str]:
    """How to start the js-libp2p peer, once `install` has been."""
    folder = CACHE / "js"
    return [str(_node_binary(folder)), str(folder / "node.mjs")]


def stock_command() -> list[str]:
    """How to start the peer of stock py-libp2p."""
    return [sys.executable, str(HERE / "stock_peer.py")]


def install() -> None:
    """Put Node.js and js-libp2p into .cache, as the lock has them; once, about half a minute."""
    folder = CACHE / "js"
    lock = (HERE / "package-lock.json").read_bytes() + (HERE / "package.json").read_bytes()
    wanted, stamp = hashlib.sha256(lock).hexdigest(), folder / "installed"
    folder.mkdir(parents=True, exist_ok=True)
    if not (stamp.exists() and stamp.read_text() == wanted):
        stamp.unlink(missing_ok=True)
        npm = shutil.which("npm")
        assert npm is not None, "npm is missing: apt-get install npm (or have Node.js 22 with npm)"
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_WITHIN_S
        )
        assert done.returncode == 0, f"npm ci failed:\n{done.stdout}{done.stderr}"
        stamp.write_text(wanted)
    shutil.copy(HERE / "node.mjs", folder / "node.mjs")
    assert os.access(_node_binary(folder), os.X_OK), f"no Node.js for {platform.machine()}"


def _node_binary(folder: Path) -> Path:
    arch = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return folder / "node_modules" / f"node-linux-{arch}" / "bin" / "node"
