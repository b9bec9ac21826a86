#!/bin/sh
# Builds the image swarmpool:test; passes this machine's pip settings and CA as build secrets where it has them.
set -eu
cd "$(dirname "$0")/../.."
. testnet/.run/env
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
set -- --network host -q -t swarmpool:test
bundle=${PIP_CERT:-${SSL_CERT_FILE:-$(python3 -m pip config get global.cert 2>/dev/null || true)}}
if [ -n "$bundle" ] && [ -f "$bundle" ]; then
    index=$(python3 -m pip config get global.index-url 2>/dev/null || true)
    index=${PIP_INDEX_URL:-$index}
    {
        echo "[global]"
        echo "cert = /run/secrets/ca_bundle"
        [ -z "$index" ] || echo "index-url = $index"
    } >"$secrets/pip.conf"
    set -- "$@" --secret "id=pip_conf,src=$secrets/pip.conf" --secret "id=ca_bundle,src=$bundle"
fi
docker build "$@" . >/dev/null
echo "image: swarmpool:test"
