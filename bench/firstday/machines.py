"""Rita in the open, a box behind its firewall, and the laptop, which has a clone and a project."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from swarmnode.demo.launcher import LocalSwarm, new_root
from testnet.emulator.lab import EmulatedLab, emulated_lab
from testnet.emulator.shape import LinkShape

DATA_BYTES: Final = 500_000_000
LINE_MBIT: Final = 200.0
LINE_DELAY_MS: Final = 10.0
PACKET_BYTES: Final = 9000
STEP: Final = "step 1: loss"
TRAIN: Final = """\
import tiny_steps

with open("data.bin", "rb") as file:
    for number in range(1, 4):
        print(f"step {number}: loss {tiny_steps.loss(file.read(1 << 20)):.4f}", flush=True)
"""
_NAMES: Final = ("rita", "box", "laptop")
_FIREWALL: Final = """
table inet wall {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
    }
}
"""
_QUEUE_BYTES: Final = 1_000_000
_CHUNK: Final = 1 << 20
_READY_S: Final = 60.0


@contextmanager
def lines() -> Iterator[EmulatedLab]:
    """Three machines on their lines, two of them behind firewalls."""
    with emulated_lab(_NAMES) as lab:
        for number, name in enumerate(_NAMES):
            lab.shape_uplink(name, LinkShape(rate_mbit=LINE_MBIT, queue_bytes=_QUEUE_BYTES))
            for other in _NAMES[:number]:
                lab.shape(name, other, LinkShape(delay_ms=LINE_DELAY_MS))
            mtu = ("ip", "link", "set", "eth0", "mtu", str(PACKET_BYTES))
            _do(*lab.inside(name), *mtu)
            if name != "rita":
                _do(*lab.inside(name), "nft", "-f", "-", said=_FIREWALL)
        yield lab


@contextmanager
def pool(lab: EmulatedLab, home: Path) -> Iterator[LocalSwarm]:
    """Rita, who only carries, and the box."""
    own = {"HOME": str(home), "SWARM_STORAGE__MIN_FREE_GIB": "1"}
    swarm = LocalSwarm(new_root(), profile="server", environ=own, own_people=True)
    try:
        lends_nothing = {"COMPUTE__ENABLED": "false", "STORAGE__ENABLED": "false"}
        swarm.add("rita", lab.address("rita"), **lends_nothing)
        swarm.add("box", lab.address("box"))
        for node in swarm.nodes:
            node.environ = {k: v for k, v in node.environ.items() if not k.startswith("PIP_")}
            swarm.start(node, [*lab.inside(node.name), sys.executable, "-m", "swarmnode.daemon"])
        swarm.wait_ready(_READY_S)
        yield swarm
    finally:
        swarm.destroy()


def lay_out(home: Path) -> None:
    """A clone, a project, its data, and the folder where its packages are."""
    source = Path(__file__).parents[2]
    _do("git", "clone", "-q", f"file://{source}", str(home / "swarm"))
    (home / "wheels").mkdir()
    _make_wheel(home / "wheels")
    (home / ".config/pip").mkdir(parents=True)
    settings = f"[global]\nno-index = true\nfind-links = {home / 'wheels'}\n"
    (home / ".config/pip/pip.conf").write_text(settings)
    (home / "digits").mkdir()
    (home / "digits/train.py").write_text(TRAIN)
    (home / "digits/requirements.txt").write_text("tiny-steps\n")
    with open(home / "data.bin", "wb") as file:
        for at in range(0, DATA_BYTES, _CHUNK):
            file.write(os.urandom(min(_CHUNK, DATA_BYTES - at)))


def _make_wheel(folder: Path) -> None:
    about = "tiny_steps-1.0.dist-info"
    files = {
        "tiny_steps.py": "def loss(block):\n    return sum(block) / len(block) / 255\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: tiny-steps\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n"
    loose = folder / "loose"
    (loose / about).mkdir(parents=True)
    for name, text in files.items():
        (loose / name).write_text(text)
    packed = shutil.make_archive(str(loose), "zip", loose)
    Path(packed).rename(folder / "tiny_steps-1.0-py3-none-any.whl")
    shutil.rmtree(loose)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _do(*argv: str, said: str = "") -> None:
    subprocess.run(argv, input=said, text=True, check=True, capture_output=True)  # noqa: S603
