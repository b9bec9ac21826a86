"""Inputs of a task that another machine of its person submitted, for who runs it again here."""

from msgspec.structs import replace

from storage.facade import Mark, ObjectKind, Objects
from storage.manifests.capability import parse_cap, text_of_cap
from swarmnode.packs.reading import read
from swarmnode.tasks.spec import TaskSpec


async def with_own_inputs(objects: Objects, spec: TaskSpec, person: str) -> TaskSpec:
    """The same with copies of its inputs: the other machine frees its own when it likes.

    Raises StorageError.
    """
    copies = []
    for name, cap in spec.inputs:
        mark = Mark(ObjectKind.INPUT, person=person)
        pieces = read(objects, parse_cap(cap))
        receipt = await objects.put(pieces, name=f"input/{name}", mark=mark)
        copies.append((name, text_of_cap(receipt.cap)))
    return replace(spec, inputs=tuple(copies))
