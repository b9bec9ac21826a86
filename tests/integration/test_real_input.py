import hashlib
import io
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

import pytest

from swarmnode.demo.launcher import LocalNode, LocalSwarm
from tests.integration.swarm_lab import memory_bytes, swarm_of

MB = 1_000_000
NODES = 7
MEMORY_MAX = 200 * MB


class Hooked(io.RawIOBase):
    """A file that calls `act` once when so many bytes of it have been read."""

    def __init__(self, file: IO[bytes], after: int, act: Callable[[], None]) -> None:
        self.file, self.after, self.act, self.done = file, after, act, False

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        if not self.done and self.file.tell() >= self.after:
            self.done = True
            self.act()
        return data


class Watch:
    """The highest memory of each living node, looked at ten times a second."""

    def __init__(self, swarm: LocalSwarm) -> None:
        self.swarm, self.peak = swarm, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            for node in self.swarm.alive():
                try:
                    self.peak = max(self.peak, memory_bytes(node.pid))
                except (FileNotFoundError, KeyError, ProcessLookupError):
                    continue  # it has just been killed


def make_archive(path: Path, size: int) -> str:
    """An archive of the machine's own programs and libraries, cut to `size`; its SHA-256."""
    command = ["tar", "-cf", "-", "--ignore-failed-read", "-C", "/", "usr/lib", "usr/bin"]
    digest, left = hashlib.sha256(), size
    with (
        path.open("wb") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tar,
    ):
        assert tar.stdout is not None
        while left and (chunk := tar.stdout.read(min(left, 1 << 20))):
            digest.update(chunk)
            file.write(chunk)
            left -= len(chunk)
        tar.kill()
    assert left == 0, f"the machine's files are {left} bytes short"
    return digest.hexdigest()


def holders_of(swarm: LocalSwarm, asked: LocalNode, address: str) -> set[str]:
    shards = asked.client.get(f"/api/v1/objects/{address}")["shards"]
    return {line["holder"] for line in shards if line["alive"]}


def store_and_read(size: int) -> int:
    """Put and get with a holder killed in the middle of each; the peak memory of any node."""
    with (
        swarm_of(NODES, STORAGE__MIN_FREE_GIB="1") as swarm,
        tempfile.TemporaryDirectory() as folder,
        Watch(swarm) as watch,
    ):
        archive = Path(folder) / "archive.tar"
        digest = make_archive(archive, size)
        writer, reader, first, second = swarm.nodes[:4]
        with archive.open("rb") as file:
            source = Hooked(file, size // 2, lambda: swarm.kill_machine(first))
            receipt = writer.client.upload("/api/v1/objects?name=archive", source)
        assert source.done
        assert receipt["size"] == size
        if second.peer not in holders_of(swarm, writer, receipt["address"]):
            second = swarm.nodes[4]
        assert second.peer in holders_of(swarm, writer, receipt["address"])

        found, seen, killed = hashlib.sha256(), 0, False
        for chunk in reader.client.download("/api/v1/objects/read", {"cap": receipt["cap"]}):
            found.update(chunk)
            seen += len(chunk)
            if not killed and seen >= size // 2:
                killed = True
                swarm.kill_machine(second)
        assert killed
        assert found.hexdigest() == digest
    assert watch.peak <= MEMORY_MAX, f"{watch.peak / MB:.0f} MB"
    return watch.peak


def test_an_archive_survives_a_holder_lost_while_it_is_written_and_one_while_it_is_read() -> None:
    store_and_read(60 * MB)


@pytest.mark.slow
def test_the_same_with_half_a_gigabyte_costs_no_node_more_memory() -> None:
    print(f"peak memory of a node: {store_and_read(500 * MB) / MB:.0f} MB")
