"""Which jobs have a work folder that is a file system of its own, and where it is. Blocking."""

import logging
import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from p2p.workers import Workers
from swarmnode.contained import contained
from swarmnode.executor.disk.work_disk import WorkDisk, WorkDisks
from swarmnode.executor.disk.work_use import IMAGE
from swarmnode.executor.job_folder import CrashRecord, JobFolder
from swarmnode.executor.shim.order import FD_DISK
from swarmnode.executor.watch import kill_left_over
from swarmnode.limits import JOB_START_TIMEOUT_S

log = logging.getLogger("swarm")
_LOOK_S = 0.01


class JobDisks:
    """The work disks of one executor, by the job's folder."""

    def __init__(self, templates: Path) -> None:
        self._disks = WorkDisks(templates)
        self._held: dict[Path, WorkDisk] = {}
        """By the job's folder, open until `drop` or `let_go`; a job without is only measured."""

    async def adopt(
        self, workers: Workers, jobs: Path, records: Mapping[Path, CrashRecord]
    ) -> None:
        """Find those of a node before us. One that is beyond help costs its job, not the node."""
        for name in sorted(os.listdir(jobs)):
            folder = JobFolder(jobs / name)
            if not (folder.path / IMAGE).exists():
                continue
            find = partial(self._find, folder, records.get(folder.path))
            with contained(f"the look at the disk of job {name}"):
                await self._find_soon(workers, find, name)

    async def _find_soon(self, workers: Workers, find: Callable[[], bool], name: str) -> None:
        try:
            with trio.move_on_after(JOB_START_TIMEOUT_S):
                while True:
                    if await workers.run(find):
                        break
                    await trio.sleep(_LOOK_S)  # its shim has just been started
        except OSError as exc:
            log.warning("work folder of %s cannot be read any more: %s", name, exc)

    def _find(self, folder: JobFolder, record: CrashRecord | None) -> bool:
        """Two views of one disk would disagree: a job that runs is looked at through its shim's.

        False while a shim that lives does not show its own.
        """
        if folder.shim_lives():
            disk = _disk_of_shim(folder)
            if disk is not None:
                self._held[folder.path] = disk
            return disk is not None
        if record is not None:
            kill_left_over(folder, record)
        self._held[folder.path] = self._disks.find(folder.path, folder.work)
        return True

    def make(self, folder: JobFolder, disk_bytes: int) -> WorkDisk | None:
        """Over what is in the work folder now. None where none can be had just now: the job does
        without, and its exit says so."""
        if folder.path not in self._held:
            try:
                self._held[folder.path] = self._disks.make(folder.path, folder.work, disk_bytes)
            except (OSError, subprocess.SubprocessError) as exc:
                log.warning("%s gets no file system of its own: %s", folder.path.name, exc)
        return self._held.get(folder.path)

    def stock(self, folder: JobFolder, disk_bytes: int) -> None:
        """Be quicker for the next job like this one."""
        if folder.path in self._held:
            with suppress(OSError, subprocess.SubprocessError):  # the next will say so, if it lasts
                self._disks.stock(disk_bytes)

    def root_of(self, folder: JobFolder) -> str:
        """The path of the job's work folder, for this process."""
        disk = self._held.get(folder.path)
        return disk.root if disk else str(folder.work)

    def let_go(self) -> None:
        """Of all: this process is done with them."""
        self._disks.let_go()
        for path in list(self._held):
            self._held.pop(path).close()

    def drop(self, folder: JobFolder) -> None:
        """Let go of it, so that its space is free when the folder is removed."""
        disk = self._held.pop(folder.path, None)
        if disk is not None:
            disk.close()


def _disk_of_shim(folder: JobFolder) -> WorkDisk | None:
    """As a shim that lives has it; None while it has not come to say its pid, or when it ended."""
    state = folder.read_state()
    if state is None:
        return None
    try:
        place = f"/proc/{state.shim}/fd/{FD_DISK}"
        return WorkDisk(os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
