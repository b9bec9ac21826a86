#!/bin/sh
# A container engine for the tests: uses the one that answers, else starts Debian's dockerd; then makes
# sure that base images exist (locally made when no registry answers) and writes testnet/.run/env.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
run=$here/../.run
mkdir -p "$run"
export PATH=/usr/bin:$PATH
export DOCKER_BUILDKIT=1

if docker info >/dev/null 2>&1; then
    printf 'export PATH=/usr/bin:$PATH DOCKER_BUILDKIT=1\n' >"$run/env"
else
    command -v dockerd >/dev/null || {
        echo "no container engine answers: sudo apt-get install -y docker.io iptables debootstrap" >&2
        exit 1
    }
    [ "$(id -u)" = 0 ] || { echo "starting dockerd needs root: start your engine first" >&2; exit 1; }
    # forwarding already on: dockerd then leaves the FORWARD policy alone
    sysctl -qw net.ipv4.ip_forward=1
    socket=unix:///run/swarm-testnet/docker.sock
    mkdir -p /run/swarm-testnet
    if ! DOCKER_HOST=$socket docker info >/dev/null 2>&1; then
        setsid dockerd --data-root /var/lib/swarm-testnet --exec-root /run/swarm-testnet/exec \
            --pidfile /run/swarm-testnet/dockerd.pid -H "$socket" --log-level warn \
            >"$run/dockerd.log" 2>&1 </dev/null &
    fi
    printf 'export PATH=/usr/bin:$PATH DOCKER_BUILDKIT=1 DOCKER_HOST=%s\n' "$socket" >"$run/env"
    . "$run/env"
    n=0
    until docker info >/dev/null 2>&1; do
        n=$((n + 1))
        [ $n -lt 300 ] || { echo "dockerd did not come up:" >&2; tail -20 "$run/dockerd.log" >&2; exit 1; }
        sleep 0.1
    done
fi
. "$run/env"
docker info --format 'engine: docker {{.ServerVersion}}, {{.Driver}}, cgroup v{{.CgroupVersion}}'
sh "$here/base_image.sh"
