"""What a hostile provider tells of outputs and checkpoints, brought home with `task get`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarmnode.cli import exits
from swarmnode.cli.task.get import Bringing
from swarmnode.tree.format import EntryKind, TreeEntry, write_index

ROOT = TreeEntry(b"", EntryKind.FOLDER, 0o755)


class Lying:
    """A node whose tasks left what `objects` has, by capability."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def download(self, _path: str, ask: dict[str, str]) -> Iterator[bytes]:
        yield self.objects[ask["cap"]]


def told(name: str, cap: str, *, tree: bool = True) -> dict[str, Any]:
    return {"name": name, "cap": cap, "tree": tree}


def test_trees_that_together_lead_out_of_the_folder_lead_no_file_out(tmp_path: Path) -> None:
    """Each stays inside by itself: the second makes links of what the first took for folders."""
    target = tmp_path / "a" / "b" / "got"
    target.mkdir(parents=True)
    away = TreeEntry(b"away", EntryKind.LINK, target=b"in/1/2/3/4/5/../../../../../..")
    here = [TreeEntry(b"in/%d" % one, EntryKind.LINK, target=b".") for one in range(1, 6)]
    client = Lying(
        {
            "first": write_index([ROOT, away]),
            "second": write_index([ROOT, TreeEntry(b"in", EntryKind.FOLDER, 0o755), *here]),
            "evil": b"ssh-ed25519 AAAA mallory\n",
        }
    )
    outputs = [
        told("x", "first"),
        told("x", "second"),
        told("x/away/evil", "evil", tree=False),
        told("good", "evil", tree=False),
    ]
    detail = {"state": "done", "outputs": outputs}
    bringing = Bringing(client, target)  # type: ignore[arg-type]
    bringing.bring(detail, ("outputs",))
    assert bringing.code == exits.ERROR
    assert not list(tmp_path.rglob("*evil*"))
    assert (target / "outputs" / "good").read_bytes() == client.objects["evil"]
    assert (target / "outputs" / "x" / "away").is_symlink()
