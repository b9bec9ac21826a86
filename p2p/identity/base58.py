"""Base58 with the Bitcoin alphabet, as libp2p writes peer ids.

Source: https://datatracker.ietf.org/doc/html/draft-msporny-base58-03
"""

from typing import Final

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGIT_OF: Final = {char: digit for digit, char in enumerate(_ALPHABET)}


def base58_encode(data: bytes) -> str:
    """Bytes to text; every leading zero byte becomes one leading `1`."""
    number, digits = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def base58_decode(text: str) -> bytes:
    """Text to bytes. Raises ValueError for a character outside the alphabet.

    The work grows with the square of the length: bound the text first.
    """
    number = 0
    for char in text:
        digit = _DIGIT_OF.get(char)
        if digit is None:
            raise ValueError(f"{char!r} is not a base58 character")
        number = number * 58 + digit
    body = number.to_bytes((number.bit_length() + 7) // 8)
    return b"\0" * (len(text) - len(text.lstrip("1"))) + body
