"""An image or a conda environment, whole: which it is, and what of it goes to who unpacks it.

It lies on this machine, or in a registry: then its documents are read to know it, and its layers
only when no machine of ours has it.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Source
from swarmnode.cli.files import folders
from swarmnode.cli.files.progress import Progress
from swarmnode.cli.output import printable
from swarmnode.cli.project.own import own_or_elsewhere, own_place
from swarmnode.cli.talk import human_bytes
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task import inputs as task_inputs
from swarmnode.tasks.environments.naming import IMAGE_FILE

if TYPE_CHECKING:
    from swarmnode.project.environment.lock import Lock
    from swarmnode.project.images.conda import CondaPrefix
    from swarmnode.project.images.saved import SavedImage
    from swarmnode.project.registry.pull import RemoteImage
    from swarmnode.project.root import Project

    Whole: TypeAlias = SavedImage | RemoteImage | CondaPrefix

_FOLDER: Final = "images"
"""In the project's `.swarm/`: what is being brought from registries."""


def is_image(project: "Project", wish: str) -> bool:
    """Whether `--env WISH` means one."""
    from swarmnode.project.images.conda import is_conda, is_packed_otherwise
    from swarmnode.project.images.saved import is_image as is_saved
    from swarmnode.project.registry.reference import is_reference

    if not wish or is_reference(wish):
        return bool(wish)
    path = project.root / wish
    return is_saved(path) or is_conda(path) or is_packed_otherwise(path)


def lock_of(project: "Project", wish: str) -> "Lock":
    """Raises ProjectError, CliError."""
    from swarmnode.errors import ProjectError
    from swarmnode.project.images.conda import is_packed_otherwise
    from swarmnode.project.images.found import found_at
    from swarmnode.project.images.notes import ImageNotes
    from swarmnode.project.images.saved import SavedImage
    from swarmnode.project.registry.reference import is_reference
    from swarmnode.tasks.environments.naming import can_be_prefix, conda_lock, image_lock

    if is_reference(wish):
        remote = _found(project, wish)
        name = f"{remote.reference}".partition("://")[2]
        return _locked(remote, image_lock(remote.digest), name)
    path = project.root / wish
    if is_packed_otherwise(path):
        raise ProjectError(f"{path.name}: of archives .tar, .tar.gz and .tgz are read")
    found = found_at(
        path, ImageNotes(own_place(project.root), lambda: own_or_elsewhere(project.root))
    )
    if isinstance(found, SavedImage):
        return _locked(found, image_lock(found.digest), path.name)
    if found.prefix and not can_be_prefix(found.prefix):
        raise ProjectError(
            f"an environment in {found.prefix!r} cannot be seen there by a task: pack it "
            "(conda-pack), which makes it fit for another place"
        )
    return _locked(found, conda_lock(found.digest, found.prefix), path.name)


def _found(project: "Project", wish: str) -> "RemoteImage":
    from swarmnode.project.registry.client import Registry
    from swarmnode.project.registry.layers import drop_halves
    from swarmnode.project.registry.logins import login_here
    from swarmnode.project.registry.pull import Documents
    from swarmnode.project.registry.reference import reference_of

    reference = reference_of(wish)
    folder = own_or_elsewhere(project.root) / _FOLDER
    try:
        drop_halves(folder)
    except OSError as error:  # somebody else's: the next time, perhaps
        task_follow.say(printable(f"{folder} cannot be tidied: {error.strerror or error}"))
    registry = Registry(reference, login_here(reference.host))
    return Documents(reference, registry, folder).look(platform.machine())


def _locked(image: "Whole", text: str, name: str) -> "Lock":
    from swarmnode.project.environment.lock import Lock
    from swarmnode.tasks.environments.naming import IMAGE

    return Lock(
        text=text,
        python=IMAGE,
        machine=image.machine,
        allow_build=False,
        name=name,
        is_private=True,
        is_online=False,
        image=image,
    )


def words(lock: "Lock") -> str:
    """Which it is, for people."""
    from swarmnode.project.images.conda import CondaPrefix
    from swarmnode.project.registry.pull import RemoteImage

    what = "conda environment" if isinstance(lock.image, CondaPrefix) else "image"
    told = f" ({lock.image.told})" if isinstance(lock.image, RemoteImage) else ""
    return f"{what} {lock.name}{told}, {lock.machine}"


def sent(client: Client, image: "Whole") -> str:
    """The capability of its archive or layout, which is stored now. Raises CliError."""
    from swarmnode.errors import ProjectError
    from swarmnode.project.images.conda import CondaPrefix
    from swarmnode.project.images.counting import check_names
    from swarmnode.project.images.saved import SavedImage

    if isinstance(image, CondaPrefix):
        return task_inputs.put(client, IMAGE_FILE, partial(_packed, image), is_kept=False)
    if isinstance(image, SavedImage):
        try:
            check_names(image.path, image.digest)
        except ProjectError as error:
            raise exits.CliError(str(error), exits.USAGE) from error
        return _stored(client, image.path)
    try:
        with _fetched(image) as layout:
            return _stored(client, layout)
    except ProjectError as error:
        raise exits.CliError(str(error), exits.TEMPORARY) from error


def _stored(client: Client, path: Path) -> str:
    return task_inputs.upload([task_inputs.Input(IMAGE_FILE, path=path)], client)[IMAGE_FILE]


@contextmanager
def _packed(image: "CondaPrefix") -> Iterator[Source]:
    from swarmnode.project.images.conda import pieces_of

    yield folders.Pieces(folders.local(pieces_of(image.path), f"{image.path.name}: "))


@contextmanager
def _fetched(image: "RemoteImage") -> Iterator[Path]:
    """The layout, as long as it is being sent. Raises ProjectError."""
    from swarmnode.project.registry.client import Registry
    from swarmnode.project.registry.layers import brought
    from swarmnode.project.registry.logins import login_here
    from swarmnode.project.registry.pull import Documents

    reference = image.reference
    size = human_bytes(image.size_bytes)
    task_follow.say(f"fetching {reference}: {len(image.layers)} layers, {size}")
    registry = Registry(reference, login_here(reference.host))
    progress = Progress("fetching", image.size_bytes)
    documents = Documents(reference, registry, image.folder)
    try:
        with brought(image, registry, documents, progress.add) as layout:
            progress.end()
            yield layout
    finally:
        progress.end()
