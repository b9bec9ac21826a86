"""The tables of a machine of which only the cores of the market are real."""

from p2p.effects import Persist
from storage.engine.port import ReadView


class Disk(ReadView):
    """What a machine has written down; all of it survives a crash."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, bytes], bytes] = {}

    def write(self, row: Persist) -> None:
        self.pairs.pop((row.table, row.key), None)
        if row.value is not None:
            self.pairs[row.table, row.key] = row.value

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.pairs.get((table, key))

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        rows = sorted((key, value) for (name, key), value in self.pairs.items() if name == table)
        return [pair for pair in rows if pair[0].startswith(prefix) and pair[0] > (after or b"")]
