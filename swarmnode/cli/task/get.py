"""`task get`: what a task left, as a folder: outputs, checkpoints and logs."""

import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

import click

from p2p.errors import DISK_FULL
from swarmnode.cli import exits
from swarmnode.cli.client import ApiError, Client, Document
from swarmnode.cli.files import folders
from swarmnode.cli.files.local import cannot_write
from swarmnode.cli.output import complain, emit, output_option
from swarmnode.cli.talk import EXIT_OF_CODE, human_bytes, node
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task.logs import rest_of, write_all
from swarmnode.cli.task.names import resolve
from swarmnode.limits import STORE_FILES_S

FILES_TIMEOUT_S: Final = STORE_FILES_S + 30.0
"""A little longer than the node waits for a provider."""
PARTS: Final = ("outputs", "checkpoints", "logs")


@click.command("get")
@click.argument("task_id", metavar="TASK")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[FOLDER]")
@click.option(
    "--only", multiple=True, type=click.Choice(PARTS), help="Only this; may be given again."
)
@output_option
def get(task_id: str, folder: Path | None, only: tuple[str, ...], fmt: str) -> int:
    """Bring what a task left into FOLDER: `outputs/`, `checkpoints/` and `logs/`.

    Whatever became of it: a task that failed, was cancelled or still runs has what it left until
    now. FOLDER is named after the task unless it is given, and must not be there yet.
    """
    with node() as client:
        task = resolve(client, task_id)
        detail = client.get(f"/api/v1/tasks/{task}")
        target = folder or Path(detail["name"] if _may_be_folder(detail["name"]) else task)
        bringing = _bring(client, detail, target, only or PARTS)
    size = human_bytes(bringing.size) if fmt == "table" else bringing.size
    emit({"folder": folders.shown(target), "files": bringing.files, "size": size}, fmt)
    if detail["state"] not in task_follow.ENDS:
        task_follow.say(f"task {task} is {detail['state']}: this is what there is until now")
    return bringing.code


def _bring(client: Client, detail: Document, target: Path, parts: tuple[str, ...]) -> "Bringing":
    """Fill a folder that appears when all has come. Raises CliError."""
    if os.path.lexists(target):
        raise exits.CliError(f"{folders.shown(target)} exists: name another FOLDER", exits.USAGE)
    part = target.with_name(f".{target.name[:200]}.part{os.getpid()}")
    bringing = Bringing(client, part)
    try:
        part.mkdir(parents=True)
        bringing.bring(detail, parts)
        part.rename(target)
    except OSError as error:
        raise cannot_write(folders.shown(target), error) from error
    finally:
        folders.remove(part)
    return bringing


def _may_be_folder(name: str) -> bool:
    return bool(name) and "/" not in name and name not in (".", "..") and "\0" not in name


class Bringing:
    """One folder being filled; what cannot be had is named, and the rest is brought."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client, self._folder = client, folder
        self.files = self.size = 0
        self.code = exits.OK

    def bring(self, detail: Document, parts: tuple[str, ...]) -> None:
        """All that was asked for."""
        if "outputs" in parts:
            for output in self._outputs(detail):
                self._try(output, "outputs")
        if "checkpoints" in parts:
            for file in reversed(detail["checkpoints"]):  # the newest last: it replaces others
                place = "checkpoints" if file["beside"] else f"checkpoints/step-{file['step']}"
                self._try(file, place)
        if "logs" in parts:
            for stream in task_follow.STREAMS:
                self._log(detail, stream)
            self._say_what_lacks(detail)

    def _outputs(self, detail: Document) -> list[Document]:
        """Of a task that runs, its provider stores now what there is."""
        if detail["state"] != "running":
            return list(detail["outputs"])
        if not detail["spec"].get("outputs") and not detail["spec"].get("changes"):
            return list(detail["outputs"])
        path = f"/api/v1/tasks/{detail['task']}/files"
        try:
            told = self._client.call("POST", path, timeout_s=FILES_TIMEOUT_S)
        except ApiError as error:
            self._missed(f"outputs: {error}", EXIT_OF_CODE.get(error.code, exits.ERROR))
            return []
        if told["fault"]:
            self._missed(f"outputs: {told['fault']}", exits.DEGRADED)
        return list(told["outputs"])

    def _try(self, file: Document, place: str) -> None:
        from swarmnode.errors import NameRefusedError

        try:
            self._object(file, place)
        except NameRefusedError as error:
            self._missed(f"{place}: {error}", exits.ERROR)
        except (ApiError, EOFError) as error:
            code = EXIT_OF_CODE.get(error.code, exits.ERROR) if isinstance(error, ApiError) else 6
            self._missed(f"{place}/{file['name']}: {error}", code)
        except exits.CliError as error:
            if full := _full_disk(error):
                # Nothing else has room either: one cause is one line.
                raise OSError(full.errno, full.strerror) from error
            self._missed(error.format_message(), error.exit_code)

    def _missed(self, words: str, code: int) -> None:
        complain(words)
        self.code = self.code or code

    def _object(self, file: Document, place: str) -> None:
        from swarmnode.tree.names import joined, parts_in, text_of

        chunks = self._client.download("/api/v1/objects/read", {"cap": file["cap"]})
        base = (*parts_in(place), *parts_in(file["name"]))
        if file["tree"]:
            files, size = folders.unpack_into(chunks, self._folder, base)
        else:
            files, size = 1, self._file(chunks, text_of(joined(base)))
        self.files += files
        self.size += size

    def _file(self, pieces: Iterator[bytes], name: str) -> int:
        """Write it through no link: one tree may have brought what leads another's name away."""
        from swarmnode.errors import OutputUnsafeError
        from swarmnode.executor.disk.safe_files import create_file

        begun = [*islice(pieces, 1)]  # what cannot be read leaves no file
        try:
            fd = create_file(str(self._folder), name, 0)
        except OutputUnsafeError as error:
            raise exits.CliError(str(error)) from error
        try:
            os.umask(umask := os.umask(0))
            os.fchmod(fd, 0o666 & ~umask)
            return _copied(chain(begun, pieces), fd)
        finally:
            os.close(fd)

    def _say_what_lacks(self, detail: Document) -> None:
        """Of the logs."""
        if detail.get("log_at"):
            detail = self._client.get(f"/api/v1/tasks/{detail['task']}")
        if words := rest_of(self._client, detail):
            self._missed(f"logs: {words}", exits.DEGRADED)

    def _log(self, detail: Document, stream: str) -> None:
        """Of one whose rest is still to come, it is waited for."""
        path = self._folder / "logs" / stream
        path.parent.mkdir(exist_ok=True)
        pieces = task_follow.log_pieces(
            self._client, detail["task"], stream, follow=bool(detail.get("log_at"))
        )
        self.size += _copy(pieces, path)
        self.files += 1


def _full_disk(error: BaseException | None) -> OSError | None:
    """What of the causes of an error says that there is no room; None where that is not why."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return error
        error = error.__cause__
    return None


def _copy(pieces: Iterator[bytes], path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        return _copied(pieces, fd)
    finally:
        os.close(fd)


def _copied(pieces: Iterator[bytes], fd: int) -> int:
    size = 0
    for piece in pieces:
        write_all(fd, piece)
        size += len(piece)
    return size
