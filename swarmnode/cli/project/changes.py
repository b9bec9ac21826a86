"""What a task added or changed, by its names: nobody had said which of it is wanted."""

from contextlib import closing
from typing import Final

from swarmnode.cli.client import ApiError, Client, Document, NodeUnreachableError
from swarmnode.cli.output import printable
from swarmnode.cli.talk import human_bytes

NAMED: Final = 5


def told(client: Client, task: str, made: Document) -> str:
    """In one line, with how to have it: `made` is the output that holds it."""
    from swarmnode.errors import OutputUnsafeError

    get = f"swarmnode task get {task} brings it (--out NAME: straight to its place)"
    try:
        names, size = _content(client, made["cap"])
    except (ApiError, NodeUnreachableError, EOFError, OutputUnsafeError) as error:
        return f"it made or changed files ({error}); {get}"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return printable(
        f"it made or changed {', '.join(names[:NAMED])}{more}, {human_bytes(size)}; {get}"
    )


def _content(client: Client, cap: str) -> tuple[list[str], int]:
    """Names, and bytes of all files: of a tree no more than its index is read."""
    from swarmnode.tree.format import EntryKind
    from swarmnode.tree.names import text_of
    from swarmnode.tree.unpack import IndexReader

    reader = IndexReader()
    with closing(client.download("/api/v1/objects/read", {"cap": cap})) as pieces:
        for piece in pieces:
            if (read := reader.feed(piece)) is not None:
                index = read[0]
                files = [
                    text_of(one.path) for one in index.entries if one.kind is not EntryKind.FOLDER
                ]
                folders = (f"{text_of(one.path)}/" for one in index.entries if one.path)
                return files or list(folders), index.content_bytes
    return [], 0
