"""`bench env` in small: what is made for it is what it says, and parts are chosen by name."""

import hashlib
import zipfile
from pathlib import Path

import msgspec
import pytest

from bench import env
from bench.env import wheels
from bench.env.sizes import Sizes
from swarmnode.project.environment.find import source_of
from swarmnode.project.environment.indexes import for_uv
from swarmnode.project.environment.lock import lock_of


def test_packages_of_a_size_are_locked_with_their_hashes(tmp_path: Path) -> None:
    found = wheels.lay_out(tmp_path)
    project = wheels.project_with(tmp_path, "bulk", 1)
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert 1_000_000 <= wheel.stat().st_size < 1_100_000
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
    source = source_of(project, "", (3, 11))
    assert source is not None
    own = project / ".swarm"
    own.mkdir()
    lock = lock_of(source, own, for_uv({}, found))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert lock.text == f"bulk0==1.0 --hash=sha256:{digest}\n"
    assert lock.wheel_bytes == wheel.stat().st_size
    assert lock.is_private
    assert not lock.is_online


def test_a_part_or_size_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="no part 'wram'; there are folder, warm,"):
        env.measure(1, only="wram")
    with pytest.raises(msgspec.ValidationError, match="warm_gb"):
        Sizes.read("warm_gb=2")


def test_sizes_are_read_as_they_are_typed() -> None:
    assert Sizes.read("warm_mb=2,line_mbit=0.5") == Sizes(warm_mb=2, line_mbit=0.5)
