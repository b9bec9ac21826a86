#!/bin/sh
# Runs a program in a Debian tree as if that had been booted: run.sh ROOT USER PROGRAM [ARGUMENT...]
# A chroot would not do: the kernel refuses user namespaces to programs in one.
set -eu
exec unshare --mount --propagation private sh -c '
    root=$1 user=$2
    shift 2
    mount --bind "$root" "$root"
    for tree in dev proc sys; do mount --rbind "/$tree" "$root/$tree"; done
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    cd "$root"
    pivot_root . mnt
    umount -l /mnt
    home=$([ "$user" = root ] && echo /root || echo "/home/$user")
    cd "$home"
    exec setpriv --reuid "$user" --regid "$user" --init-groups env -i HOME="$home" USER="$user" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$@"
' sh "$@"
