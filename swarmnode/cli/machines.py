"""Machines as people call them: by name where it is theirs alone, else with the end of the id."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document

_TAIL: Final = 6
"""Ids begin alike (12D3KooW...): their ends tell them apart."""
_UP: Final = ("alive", "suspect")


def short(identity: str) -> str:
    """The end of a peer, person or lab id."""
    return f"..{identity[-_TAIL:]}"


@dataclass(frozen=True, slots=True)
class Machines:
    """The members as `GET /api/v1/peers` told them."""

    rows: Sequence[Document]

    @classmethod
    def seen_by(cls, client: Client) -> "Machines":
        """Ask the node."""
        return cls(client.get("/api/v1/peers"))

    @property
    def has_others(self) -> bool:
        """Whether any but ours is up."""
        return any(not row["me"] and row["liveness"] in _UP for row in self.rows)

    def label(self, peer: str) -> str:
        """A short name that fits one machine only; `-` for none."""
        if not peer:
            return "-"
        names = {row["peer"]: row["name"] for row in self.rows}
        if not (name := names.get(peer, "")):
            return short(peer)
        return name if Counter(names.values())[name] == 1 else f"{name}{short(peer)}"

    def way(self, row: Document) -> str:
        """How that machine is connected to ours: direct, `relay NAME`, or `-` when it is not."""
        if not row["connected"]:
            return "-"
        return f"relay {self.label(row['relay'])}" if row.get("relay") else "direct"

    def lab(self, lab: str) -> str:
        """A lab's name, with the end of its id where another lab here has the same."""
        names = {row["lab"]: row.get("lab_name", "") for row in self.rows}
        if not (name := names.get(lab, "")):
            return short(lab)
        return name if Counter(names.values())[name] == 1 else f"{name}{short(lab)}"

    def find(self, text: str) -> Document:
        """The one machine with this id, name or label. Raises CliError."""
        matches = [
            row for row in self.rows if text in (row["peer"], row["name"], self.label(row["peer"]))
        ]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise exits.CliError(f"no member {text!r}: see swarmnode peer ls", exits.NOT_FOUND)
        labels = ", ".join(self.label(row["peer"]) for row in matches)
        raise exits.CliError(
            f"{len(matches)} members are called {text!r}: say {labels}", exits.USAGE
        )
