"""An ordinary user shows datasets to jobs: by /dev/fuse where it may, else as complete files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.data_lab import has_fuse, needs_fuse_reason
from tests.job_lab import PYTHON, needs_bwrap, needs_python, needs_root
from tests.unit.swarmnode.executor.test_nonroot import NOBODY, ROOT, seen_by_everybody

SCRIPT = """
import json, sys, trio
from pathlib import Path
from swarmnode.tree.mount_points import DataMount
from tests.data_lab import Numbered, Serving, folder_of, one_file, shown
from tests.job_lab import SH, run_job, running_executor, spec

async def main(folder, whole):
    serving = Serving(Numbered(), one_file(100000), folder_of([b"a", b"b"], 8))
    async with running_executor(Path(folder), serve=serving.serve) as executor:
        said = {"way": executor.data_way()}
        mounts = (shown("/d", is_folder=False), shown("/work/in/side", is_folder=True))
        if said["way"][0] == "whole":
            mounts = (DataMount("/d", "", False, whole), DataMount("/work/in", "", True, "/usr"))
        script = "wc -c < /d; ls in/side | wc -l; touch /d || echo ro; id -u"
        ended, out, err = await run_job(executor, spec("t.1", SH, "-c", script, data=mounts))
        said["job"] = [ended.code, out.split(), err]
        print(json.dumps(said))

trio.run(main, *sys.argv[1:])
"""


@needs_bwrap
@needs_root
@needs_python
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is missing")
@pytest.mark.parametrize("is_open", [True, False])
def test_an_ordinary_users_jobs_see_datasets_in_the_way_the_machine_allows(
    open_path: Path, is_open: bool
) -> None:
    if is_open and not has_fuse():
        pytest.skip(needs_fuse_reason)
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout
    if version.split()[1].rsplit(".", 1)[0] != ".".join(map(str, sys.version_info[:2])):
        pytest.skip(f"{PYTHON} is {version.strip()}, the installed packages are for another one")
    home, whole = open_path / "home", open_path / "whole"
    home.mkdir()
    os.chown(home, int(NOBODY), int(NOBODY))
    whole.write_bytes(bytes(100000))
    code, packages = open_path / "code", open_path / "packages"
    trees = {ROOT: code, Path(trio.__file__).parents[1]: packages}
    ran = subprocess.run(
        [
            *seen_by_everybody(trees), "sh", "-c", _device(open_path, is_open=is_open), "sh",
            "setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all",
            PYTHON, "-c", SCRIPT, str(home / "x"), str(whole),
        ],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin:/usr/sbin", "PYTHONPATH": f"{code}:{packages}"}, cwd="/",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["way"][0] == ("lazy" if is_open else "whole")
    assert ("/dev/fuse" in said["way"][1]) == (not is_open)
    exit_code, out, err = said["job"]
    assert exit_code == 0, err
    assert (out[0], out[2:]) == ("100000", ["ro", NOBODY]), err


def _device(folder: Path, *, is_open: bool) -> str:
    """Has a device that everybody may open, or nobody, in the place of this machine's."""
    place = folder / "fuse"
    mode = "666" if is_open else "600"
    make = f"mknod {place} c 10 229 && chmod {mode} {place} && mount --bind {place} /dev/fuse"
    return f'{make} && exec "$@"'
