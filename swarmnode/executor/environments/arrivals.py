"""Brings environments to this machine: each once, however many jobs want it at the same time."""

from collections.abc import AsyncIterable, Callable, Collection
from functools import partial

import trio
from blake3 import blake3

from p2p.workers import Workers
from swarmnode.errors import EnvironmentDamagedError, ExecutorUnavailableError
from swarmnode.executor.environments.catalogue import Environments
from swarmnode.tasks.environments.naming import BUILT
from swarmnode.tree.unpack import Unpacker


class EnvironmentArrivals:
    """The async face of the store."""

    def __init__(
        self, environments: Environments, workers: Workers, used: Callable[[], Collection[str]]
    ) -> None:
        """`used` names those that jobs have now."""
        self._environments, self._workers, self._used = environments, workers, used
        self._coming: dict[str, trio.Lock] = {}
        """By name, of those that are being brought."""
        self._waiting: dict[str, str] = {}
        """By job, until it is forgotten: what was brought for it may be wanted hours later."""
        self._changing = trio.Lock()
        """The store is changed by one at a time."""
        self._news = trio.Event()
        """Set, and made anew, when another has come."""

    @property
    def is_possible(self) -> bool:
        """Whether tasks here can be shown what was brought."""
        return self._environments.is_shown

    async def arrived(self) -> None:
        """Return once another has come."""
        await self._news.wait()

    def has(self, name: str) -> bool:
        """Whether a task that asks for it could start."""
        return name in self._environments.names()

    async def bring(
        self, name: str, digest: bytes, chunks: AsyncIterable[bytes], job: str = ""
    ) -> None:
        """Lay it out here, unless it is; `digest` is of all its bytes. It stays for that job.

        Raises EnvironmentDamagedError, TreeRefusedError, ExecutorUnavailableError (no room).
        """
        if job:
            self._waiting[job] = name
        lock = self._coming.setdefault(name, trio.Lock())
        try:
            async with lock:
                await self._bring(name, digest, chunks)
        finally:
            if not lock.locked():  # the last who wanted it: any number of names may be heard
                self._coming.pop(name, None)

    def let_go(self, job: str) -> None:
        """That job needs none any more."""
        self._waiting.pop(job, None)

    async def _bring(self, name: str, digest: bytes, chunks: AsyncIterable[bytes]) -> None:
        name_here = name.removeprefix(BUILT)
        if self.has(name):
            await self._workers.run(partial(self._environments.store.use, name_here))
            return
        try:
            await self._lay_out(name_here, digest, chunks)
        except OSError as exc:
            raise ExecutorUnavailableError(f"laying out {name}: {exc.strerror}") from exc

    async def _lay_out(self, name: str, digest: bytes, chunks: AsyncIterable[bytes]) -> None:
        store, run, hasher = self._environments.store, self._workers.run, blake3()
        part = await run(partial(store.begin, name))
        unpacker = Unpacker(str(part), ())

        def take(chunk: bytes) -> None:
            hasher.update(chunk)
            begins = unpacker.index is None
            unpacker.feed(chunk)
            if begins and unpacker.index is not None:
                store.check_room(name, unpacker.index.content_bytes)

        is_whole = False
        try:
            async for chunk in chunks:
                await run(partial(take, chunk))
            await run(unpacker.finish)
            if hasher.digest() != digest:
                raise EnvironmentDamagedError(
                    f"environment {name} is not what its builder signed: build it again"
                )
            async with self._changing:
                wanted = (*self._used(), *self._waiting.values())
                used = {one.removeprefix(BUILT) for one in wanted}
                await run(partial(store.finish, name, used))
            is_whole = True
            self._news.set()
            self._news = trio.Event()
        finally:
            unpacker.close()
            if not is_whole:
                with trio.CancelScope(shield=True):
                    await run(partial(store.drop_part, name))
