"""Images made on the spot: a few files as `docker save` or an OCI layout would have them."""

import ctypes
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "other")
D, S, H, C, P = (
    tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One entry of a layer."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    to: str = ""
    mode: int = 0o644
    pax: Mapping[str, str] = field(default_factory=dict)
    time_s: int = 0


def layer(*items: Item) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for item in items:
            info = tarfile.TarInfo(item.name)
            info.type, info.linkname, info.mode = item.kind, item.to, item.mode
            info.size, info.devmajor, info.devminor = len(item.data), 1, 3
            info.pax_headers, info.mtime = dict(item.pax), item.time_s
            tar.addfile(info, io.BytesIO(item.data))
    return held.getvalue()


def settings_of(layers: Sequence[bytes], env: Sequence[str] = (), machine: str = "") -> bytes:
    ids = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
    whole = {
        "architecture": machine or ARCHITECTURE,
        "os": "linux",
        "config": {"Env": list(env), "WorkingDir": "/srv", "Entrypoint": ["/bin/false"]},
        "rootfs": {"type": "layers", "diff_ids": ids},
    }
    return json.dumps(whole).encode()


def saved(path: Path, layers: Sequence[bytes], settings: bytes = b"") -> str:
    """An archive as `docker save` writes it; the digest of its settings."""
    settings = settings or settings_of(layers)
    digest = hashlib.sha256(settings).hexdigest()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": f"{digest}.json", "RepoTags": ["x:1"], "Layers": names}]
    files = dict(zip(names, layers, strict=True))
    with tarfile.open(path, "w") as tar:
        for name, data in (*files.items(), (f"{digest}.json", settings)):
            _add(tar, name, data)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return f"sha256:{digest}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def layout(
    folder: Path, layers: Sequence[bytes], settings: bytes = b"", packed: bool = True
) -> str:
    """An OCI layout, its layers packed by gzip."""
    settings = settings or settings_of(layers)
    (folder / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes) -> dict[str, object]:
        digits = hashlib.sha256(data).hexdigest()
        (folder / "blobs/sha256" / digits).write_bytes(data)
        return {"digest": f"sha256:{digits}", "size": len(data)}

    kept = [blob(gzip.compress(one, 1) if packed else one) for one in layers]
    manifest = blob(json.dumps({"config": blob(settings), "layers": kept}).encode())
    (folder / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"sha256:{hashlib.sha256(settings).hexdigest()}"


def packed_by_zstd(data: bytes, level: int = 3) -> bytes:
    """One frame. Raises OSError where there is no libzstd."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(library.ZSTD_compressBound(ctypes.c_size_t(len(data))))
    lengths = ctypes.c_size_t(len(room)), ctypes.c_size_t(len(data))
    size = library.ZSTD_compress(room, lengths[0], data, lengths[1], level)
    return room.raw[:size]


def programs(*names: str) -> list[Item]:
    """Programs of this machine with their libraries, in the places of a merged /usr."""
    items = [Item(f"{name}", kind=S, to=f"usr/{name}") for name in ("bin", "lib", "lib64")]
    items += [Item(f"usr/{name}", kind=D, mode=0o755) for name in ("bin", "lib", "lib64")]
    libraries: set[str] = set()
    for name in names:
        path = os.path.realpath(shutil.which(name, path="/usr/bin:/bin") or "")
        place = f"usr/bin/{Path(name).name}"
        items.append(Item(place, Path(path).read_bytes(), mode=0o755))
        told = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        libraries |= set(re.findall(r"(/\S+\.so\S*)", told))
    for library in sorted(libraries):
        place = "usr/lib64" if library.startswith("/lib64") else "usr/lib"
        items.append(Item(f"{place}/{Path(library).name}", Path(library).read_bytes(), mode=0o755))
    return items
