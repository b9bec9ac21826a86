"""What lies at a path: an image, or an environment of conda. Reads files; blocking."""

from pathlib import Path

from swarmnode.errors import ProjectError
from swarmnode.project.images import conda, saved
from swarmnode.project.images.notes import ImageNotes, Note, mark_of


def found_at(path: Path, notes: ImageNotes) -> saved.SavedImage | conda.CondaPrefix:
    """Raises ProjectError."""
    if path.is_dir() and not conda.is_conda(path):
        return saved.image_at(path)
    try:
        mark = mark_of(path)
        note = notes.find(mark)
        if note is None:
            note = _read(path)
            if note.is_conda or saved.is_packed(path):  # else it is read in no time
                notes.keep(mark, note)
        if note.is_conda:
            return conda.prefix_of(path, note)
        return saved.image_of(path, note.digest, note.machine)
    except OSError as error:
        raise ProjectError(f"{path.name} cannot be read: {error}") from error


def _read(path: Path) -> Note:
    if conda.is_conda(path):
        return conda.note_of(path)
    image = saved.image_at(path)
    return Note(is_conda=False, digest=image.digest, machine=image.machine)
