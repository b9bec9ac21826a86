#!/bin/sh
# Makes sure that the Dockerfile's base image is here: pulled, or made with debootstrap where no
# registry answers (Debian 12 with its own Python 3.11, in the shape of the official slim image).
set -eu
tag=debian:bookworm-slim
docker image inspect "$tag" >/dev/null 2>&1 && { echo "base image: $tag"; exit 0; }
if timeout 30 docker pull -q "$tag" >/dev/null 2>&1; then
    echo "base image: $tag, pulled"
    exit 0
fi
command -v debootstrap >/dev/null || {
    echo "no registry answers and debootstrap is missing: sudo apt-get install -y debootstrap" >&2
    exit 1
}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -1)
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,bubblewrap,tini \
    bookworm "$root/fs" ${mirror:+"$mirror"} >"$root/log" 2>&1 || { tail -5 "$root/log" >&2; exit 1; }
rm -rf "$root"/fs/usr/share/doc/* "$root"/fs/usr/share/man/* "$root"/fs/var/cache/apt/archives/*.deb \
    "$root"/fs/var/lib/apt/lists/*
tar -C "$root/fs" --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -c . |
    docker import --change 'CMD ["bash"]' - "$tag" >/dev/null
echo "base image: $tag, made here"
