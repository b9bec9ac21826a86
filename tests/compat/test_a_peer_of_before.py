"""Whatever a peer of an earlier version says is understood, and answered in a way it reads."""

import base64
import json
from pathlib import Path
from typing import Final

import msgspec
import pytest

from p2p.wire.codec import decode, encode, number_in
from tests.fuzz.samples import every_struct

SAID: Final[dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "messages.json").read_text()
)


every_struct()  # from here on every number is known


def test_there_is_one_of_every_number_it_knew() -> None:
    assert len(SAID) >= 60
    assert all(SAID.values())


@pytest.mark.parametrize("number", SAID)
def test_every_message_is_read_and_written_as_it_was(number: str) -> None:
    for text in SAID[number]:
        raw = base64.b64decode(text)
        assert number_in(raw) == int(number)
        said = encode(decode(raw))
        if said != raw:  # fields that came later are at the end, where it does not look
            before, now = msgspec.msgpack.decode(raw), msgspec.msgpack.decode(said)
            assert now[: len(before)] == before
            assert len(now) > len(before)
