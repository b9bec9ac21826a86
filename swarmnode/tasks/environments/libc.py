"""Versions of the C library: which one a machine has, and which an environment needs. Pure."""

import re
from typing import Final

_VERSION: Final = re.compile(r"2\.(\d{1,3})(?:\.\d+)?")


def version_in(told: str) -> str:
    """A version such as 2.36, where it is one of glibc; empty for anything else."""
    match = _VERSION.fullmatch(told)
    return f"2.{int(match[1])}" if match else ""


def is_older(has: str, needs: str) -> bool:
    """Whether one lacks what programs of the other ask for; nobody knows where either is empty."""
    one, other = _VERSION.fullmatch(has), _VERSION.fullmatch(needs)
    return one is not None and other is not None and int(one[1]) < int(other[1])
