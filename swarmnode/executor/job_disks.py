"""Which jobs have a work folder that is a file system of its own, and where it is. Blocking."""

import logging
import os
import subprocess
from pathlib import Path

from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.work_disk import WorkDisk, WorkDisks

log = logging.getLogger("swarm")


class JobDisks:
    """The work disks of one executor, by the job's folder."""

    def __init__(self, templates: Path) -> None:
        self._disks = WorkDisks(templates)
        self._held: dict[Path, WorkDisk] = {}

    def adopt(self, jobs: Path) -> None:
        """Find those of a node before us. One that is beyond help costs its job, not the node."""
        for name in sorted(os.listdir(jobs)):
            folder = JobFolder(jobs / name)
            try:
                disk = self._disks.find(folder.path, is_in_use=folder.shim_lives())
            except OSError as exc:
                log.warning("work folder of %s cannot be read any more: %s", name, exc)
                continue
            if disk is not None:
                self._held[folder.path] = disk

    def make(self, folder: JobFolder, disk_bytes: int) -> None:
        """Idempotent. Where none can be had just now the job does without, and its exit says so."""
        if folder.path in self._held:
            return
        try:
            self._held[folder.path] = self._disks.make(folder.path, disk_bytes)
        except (OSError, subprocess.SubprocessError) as exc:
            log.warning("%s gets no file system of its own: %s", folder.path.name, exc)

    def of(self, folder: JobFolder) -> WorkDisk | None:
        """None for a job without."""
        return self._held.get(folder.path)

    def root_of(self, folder: JobFolder) -> str:
        """The path of the job's work folder, for this process."""
        disk = self._held.get(folder.path)
        return disk.root if disk else str(folder.work)

    def let_go(self) -> None:
        """Of all: this process is done with them."""
        for path in list(self._held):
            self._held.pop(path).close()

    def drop(self, folder: JobFolder) -> None:
        """Let go of it, so that its space is free when the folder is removed."""
        disk = self._held.pop(folder.path, None)
        if disk is not None:
            disk.close()
