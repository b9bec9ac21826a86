"""revoked.txt while a node runs: what it says now counts, and a broken one ends nothing."""

import os
from pathlib import Path

from swarmnode.home.folders import Home, locate
from swarmnode.home.revoked import RevokedFile


def write(home: Home, text: str, mode: int = 0o600) -> None:
    home.revoked_file.write_text(text)
    home.revoked_file.chmod(mode)
    at = os.stat(home.revoked_file).st_mtime_ns + 1_000_000
    os.utime(home.revoked_file, ns=(at, at))


def test_it_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    home = locate({"SWARM_HOME": str(tmp_path)})
    home.make()
    revoked = RevokedFile(home)
    assert revoked() == ()
    write(home, "12D3KooWa # carol\n")
    assert revoked() == {"12D3KooWa"}
    write(home, "12D3KooWb\n")
    assert revoked() == {"12D3KooWb"}
    home.revoked_file.unlink()
    assert revoked() == frozenset()


def test_one_that_others_may_write_is_named_and_the_ids_read_before_count_on(
    tmp_path: Path,
) -> None:
    home = locate({"SWARM_HOME": str(tmp_path)})
    home.make()
    write(home, "12D3KooWa\n")
    revoked = RevokedFile(home)
    assert revoked() == {"12D3KooWa"}
    write(home, "12D3KooWb\n", 0o644)
    assert revoked() == {"12D3KooWa"}
    assert "chmod 600" in revoked.trouble
    home.revoked_file.chmod(0o600)
    assert revoked() == {"12D3KooWb"}
    assert revoked.trouble == ""
