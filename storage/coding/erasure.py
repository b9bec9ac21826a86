"""k data and m parity shards: the only importer of zfec, whose format is ours.

zfec is systematic Reed-Solomon over GF(2^8) (L. Rizzo 1997, https://pypi.org/project/zfec/); it
frees the interpreter lock, so call it from a worker thread.
"""

from collections.abc import Mapping, Sequence

import msgspec
import zfec


class Code(msgspec.Struct, frozen=True):
    """Any `k` of `n` shards give the data back; k = 1 means full copies."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n <= 255:
            raise ValueError(f"no {self.k}-of-{self.n} code: 1 <= k <= n <= 255")

    def shard_bytes(self, length: int) -> int:
        """Bytes of every shard of `length` bytes of data (at least one)."""
        return max(1, -(-length // self.k))

    def encode(self, data: bytes | memoryview) -> list[bytes]:
        """All n shards; the first k are the data itself, zero padded at the end."""
        size, view = self.shard_bytes(len(data)), memoryview(data)
        cuts = range(0, size * self.k, size)
        parts = [bytes(view[at : at + size]).ljust(size, b"\0") for at in cuts]
        if self.k == 1:
            return parts * self.n
        return list(zfec.Encoder(self.k, self.n).encode(parts))

    def decode(self, shards: Mapping[int, bytes], length: int) -> bytes:
        """The data from any k shards (number -> bytes). ValueError for fewer."""
        parts = self._data_parts(shards)
        size = len(parts[0])
        # cut before joining: a segment is copied once
        cut = (memoryview(part)[: max(0, length - at * size)] for at, part in enumerate(parts))
        return b"".join(cut)

    def rebuild(self, shards: Mapping[int, bytes], wanted: Sequence[int]) -> dict[int, bytes]:
        """The wanted shards from any k others. ValueError for fewer."""
        parts = self._data_parts(shards)
        if self.k == 1:
            return dict.fromkeys(wanted, parts[0])
        made = zfec.Encoder(self.k, self.n).encode(parts, list(wanted))
        return dict(zip(wanted, made, strict=True))

    def _data_parts(self, shards: Mapping[int, bytes]) -> list[bytes]:
        numbers = sorted(shards)[: self.k]
        if len(numbers) < self.k:
            raise ValueError(f"{len(numbers)} shards, {self.k} needed")
        if numbers == list(range(self.k)):
            return [shards[number] for number in numbers]
        if self.k == 1:
            return [shards[numbers[0]]]
        # zfec wants each data shard that is present at its own place
        present = {number for number in numbers if number < self.k}
        spare = iter([number for number in numbers if number >= self.k])
        order = [at if at in present else next(spare) for at in range(self.k)]
        decoder = zfec.Decoder(self.k, self.n)
        return list(decoder.decode([shards[number] for number in order], order))
