"""Which task somebody means: by its id, the beginning of one, or its name, however long that is."""

from typing import Final
from urllib.parse import quote

from swarmnode.cli import exits
from swarmnode.cli.client import ApiError, Client, Document
from swarmnode.cli.talk import in_path
from swarmnode.limits import TASK_NAME_CHARS_MAX

_SHOWN_MAX: Final = 5


def resolve(client: Client, text: str) -> str:
    """The id of the one task that is meant. Raises CliError, which names the choices."""
    if _is_task(client, text):
        return text
    in_path(text)  # an empty one is the beginning of all
    rows: list[Document] = client.get("/api/v1/tasks")
    by_name = [str(row["task"]) for row in rows if row["name"] == text]
    by_id = [str(row["task"]) for row in rows if row["task"].startswith(text)]
    matches = by_name or by_id
    if len(matches) == 1:
        return quote(matches[0], safe="")
    if not matches and (moved := _gone_on(client, text)):
        return moved
    if not matches:
        raise exits.CliError(f"no task {text!r}: see swarmnode task ls", exits.NOT_FOUND)
    shown = ", ".join(matches[-_SHOWN_MAX:])
    raise exits.CliError(
        f"{len(matches)} tasks match {text!r}: give the id of one, such as {shown}", exits.NOT_FOUND
    )


def _is_task(client: Client, text: str) -> bool:
    """Whether it is the id of a task that the node knows."""
    from swarmnode.tasks.ids import is_task_id

    if not is_task_id(text):
        return False
    try:
        client.get(f"/api/v1/tasks/{text}")
    except ApiError as error:
        if error.code != "task_unknown":
            raise
        return False
    return True


def _gone_on(client: Client, text: str) -> str:
    """The id of a task of that name that goes on at another machine of ours; empty for none."""
    if "/" in text or len(text) > TASK_NAME_CHARS_MAX:
        return ""  # no place for it in a path; it goes by its id
    try:
        return quote(client.get(f"/api/v1/tasks/{in_path(text)}")["task"], safe="")
    except ApiError as error:
        if error.code != "task_unknown":
            raise
    return ""
