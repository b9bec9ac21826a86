"""Values of any struct of ours: of the right types, and otherwise as strange as they get."""

import importlib
import pkgutil
import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

import p2p
import storage
import swarmnode
from p2p.wire.codec import Message, Record

_INTS: Final = (0, 1, 2, 3, 7, 100, 255, 1_800_000_000_000, -1, 2**31, 2**53, 2**63 - 1, -(2**63))
_HUGE: Final = 2**64 - 1
_TEXTS: Final = ("", "a", "x" * 64, "x" * 300, "\x00", "é\u202e\n", "../../etc/passwd", "*" * 2000)
_BYTES: Final = (b"", b"\x00", b"x" * 8, b"x" * 32, bytes(64), b"\xff" * 33, bytes(5000))
_FLOATS: Final = (0.0, -0.0, 1.0, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
_PROGRAMS: Final = ("swarmnode.demo.", "swarmnode.sdk.")
"""What tasks run: these modules are no part of a node."""


def every_struct() -> dict[str, type[msgspec.Struct]]:
    """Every Message and Record of the three packages, by module and name."""
    for package in (p2p, storage, swarmnode):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith(_PROGRAMS) and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    kinds = (*_below(Message), *_below(Record))
    ours = ("p2p.", "storage.", "swarmnode.")
    named = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in kinds}
    return {name: named[name] for name in sorted(named) if name.startswith(ours)}


def _below(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


class Sampler:
    """Makes values; `texts` and `bytes` are those that mean something where they are used."""

    def __init__(
        self, dice: random.Random, texts: tuple[str, ...] = (), blobs: tuple[bytes, ...] = ()
    ) -> None:
        self.dice = dice
        self.texts = texts
        self.blobs = blobs

    def of(self, kind: type[msgspec.Struct]) -> Any:  # noqa: ANN401
        """A value of a struct type."""
        return self._value(inspect.type_info(kind))

    def _value(self, info: Any) -> Any:  # noqa: ANN401
        dice = self.dice
        match info:
            case inspect.StructType():
                return info.cls(*(self._value(field.type) for field in info.fields))
            case inspect.UnionType():
                return self._value(dice.choice(info.types))
            case inspect.EnumType():
                return dice.choice(list(info.cls))
            case inspect.LiteralType():
                return dice.choice(info.values)
            case inspect.VarTupleType() | inspect.ListType():
                made = [self._value(info.item_type) for _ in range(dice.choice((0, 1, 1, 2, 5)))]
                return tuple(made) if isinstance(info, inspect.VarTupleType) else made
            case inspect.TupleType():
                return tuple(self._value(item) for item in info.item_types)
            case inspect.DictType():
                count = dice.choice((0, 1, 2))
                return {
                    self._value(info.key_type): self._value(info.value_type) for _ in range(count)
                }
            case _:
                return self._plain(info)

    def _plain(self, info: Any) -> Any:  # noqa: ANN401
        dice = self.dice
        match info:
            case inspect.BoolType():
                return dice.random() < 0.5
            case inspect.IntType():
                return _HUGE if dice.random() < 0.03 else dice.choice(_INTS)
            case inspect.FloatType():
                return dice.choice(_FLOATS)
            case inspect.StrType():
                return dice.choice((*self.texts, *self.texts, *_TEXTS))
            case inspect.BytesType():
                return dice.choice((*self.blobs, *self.blobs, *_BYTES))
            case inspect.MemoryViewType():
                return memoryview(dice.choice(_BYTES))
            case inspect.NoneType():
                return None
            case _:
                raise TypeError(f"no sample of {info}")
