#!/bin/sh
# A bare Debian 12 in a folder, with git, make and python3-venv and no more: make.sh FOLDER
set -eu
root=$1
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -1)
debootstrap --variant=minbase --include=git,make,python3-venv,ca-certificates \
    bookworm "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 || { tail -5 "$root.log" >&2; exit 1; }
cp /etc/resolv.conf "$root/etc/"
bundle=${PIP_CERT:-${SSL_CERT_FILE:-}}
[ -z "$bundle" ] || cp "$bundle" "$root/etc/ssl/certs/ca-certificates.crt"
chroot "$root" useradd -m kim
