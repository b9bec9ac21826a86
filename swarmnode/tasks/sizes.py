"""Sizes, cores and durations as people write them: `512M`, `2GiB`, `1.5`, `500m`, `90s`."""

import re
from typing import Final

_BYTES: Final[dict[str, int]] = {
    "": 1,
    "B": 1,
    **{unit: 1024**power for power, unit in enumerate("KMGT", 1)},
    **{f"{unit}IB": 1024**power for power, unit in enumerate("KMGT", 1)},
    **{f"{unit}B": 1000**power for power, unit in enumerate("KMGT", 1)},
}
_DURATIONS_MS: Final[dict[str, int]] = {
    "ms": 1,
    "s": 1000,
    "": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}
_AMOUNT_MAX: Final = 2**53
"""Nothing that is measured here is larger, and JSON keeps it exactly."""

_CORES_MAX: Final = 10**9
_SHOWN_CHARS_MAX: Final = 40
"""Of an amount that is too large: whoever wrote it knows it by its beginning."""

_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_bytes(given: object) -> int:
    """Bytes in `512M`, `2GiB` (both powers of 1024), `2GB` (of 1000) or a plain number.

    Raises ValueError with a text for people.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        number, unit = float(min(given, _AMOUNT_MAX)), ""
    else:
        number, unit = _split(given)
    factor = _BYTES.get(unit.upper())
    if factor is None or not number >= 0:
        raise ValueError(f"{given!r} is not a valid size: write 512M or 2GiB")
    return int(_within(given, number * factor, "8191T"))


def parse_cores(given: object) -> int:
    """Thousandths of a core in `2`, `0.5` (cores) or `"500m"`. Raises ValueError."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        number, unit = float(min(given, _AMOUNT_MAX)), ""
    else:
        number, unit = _split(given)
    if unit not in ("", "m") or not number >= 0:
        raise ValueError(f"{given!r} is not a valid number of cores: write 2, 0.5 or 500m")
    thousandths = number if unit == "m" else number * 1000
    return round(_within(given, thousandths, "999999999", _CORES_MAX * 1000))


def parse_duration_ms(given: object) -> int:
    """Milliseconds in `90`, `90s`, `500ms`, `5m`, `2h` or `3d`. Raises ValueError."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        number, unit = float(min(given, _AMOUNT_MAX)), ""
    else:
        number, unit = _split(given)
    factor = _DURATIONS_MS.get(unit.lower())
    if factor is None or not number >= 0:
        raise ValueError(f"{given!r} is not a valid duration: write 90s, 5m, 2h or 3d")
    return round(_within(given, number * factor, "104249991d"))


def _within(given: object, amount: float, most: str, bound: int = _AMOUNT_MAX) -> float:
    """The amount, if it is below the bound. Raises ValueError, which says what is the `most`."""
    if amount >= bound:
        text = str(given)
        shown = text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."
        raise ValueError(f"{shown} is too much: at most {most}")
    return amount


def _split(given: object) -> tuple[float, str]:
    """Number and unit; what is neither has a unit that nobody knows, so that the caller says it."""
    match = _NUMBER.fullmatch(given.strip()) if isinstance(given, str) else None
    return (0.0, "?") if match is None else (float(match[1]), match[2])
