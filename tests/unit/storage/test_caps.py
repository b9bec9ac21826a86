"""Capabilities as text that people copy."""

from collections.abc import Callable

import pytest

from storage.errors import CapabilityError
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import (
    PREFIX,
    SEALED_KEY_BYTES,
    SEALED_PREFIX,
    parse_address,
    parse_cap,
    parse_kept,
    text_of_address,
    text_of_cap,
)

CAP = ReadCap(Address(bytes(range(32))), ObjectKey(bytes(range(100, 132))))


def test_a_capability_reads_back() -> None:
    text = text_of_cap(CAP)
    assert parse_cap(text) == CAP
    assert parse_cap(f"  {text}\n") == CAP
    assert text == text.lower()


def test_a_sealed_capability_reads_back_from_our_tables_and_is_none_to_anybody() -> None:
    cap = ReadCap(CAP.address, ObjectKey(bytes(SEALED_KEY_BYTES)))
    text = text_of_cap(cap)
    assert text.startswith(SEALED_PREFIX)
    assert (parse_kept(text), parse_kept(text_of_cap(CAP))) == (cap, CAP)
    with pytest.raises(CapabilityError, match="begins with swarm:"):
        parse_cap(text)
    with pytest.raises(CapabilityError, match="sealed capability"):
        parse_kept(text[:-1])


def test_an_address_reads_back() -> None:
    assert parse_address(text_of_address(CAP.address)) == CAP.address


def test_any_mistyped_character_is_noticed() -> None:
    text = text_of_cap(CAP)
    for at in range(len(PREFIX), len(text)):
        wrong = text[:at] + ("b" if text[at] == "a" else "a") + text[at + 1 :]
        with pytest.raises(CapabilityError):
            parse_cap(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-1], "copy it whole"),
        (lambda text: text + "a", "copy it whole"),
        (lambda text: text[len(PREFIX) :], "begins with"),
        (lambda text: text[:-1] + "1", "a-z or 2-7"),
        (lambda text: text[:-1] + "é", "a-z or 2-7"),
        (lambda text: "", "begins with"),
    ],
)
def test_the_error_says_what_is_wrong(change: Callable[[str], str], message: str) -> None:
    with pytest.raises(CapabilityError, match=message):
        parse_cap(change(text_of_cap(CAP)))


def test_a_capability_is_no_address() -> None:
    with pytest.raises(CapabilityError):
        parse_address(text_of_cap(CAP))
