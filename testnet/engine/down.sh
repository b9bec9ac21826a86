#!/bin/sh
# Stops the dockerd that up.sh started; leaves any other engine alone.
pidfile=/run/swarm-testnet/dockerd.pid
[ -f "$pidfile" ] || exit 0
pid=$(cat "$pidfile")
kill "$pid" 2>/dev/null || exit 0
n=0
while kill -0 "$pid" 2>/dev/null && [ $n -lt 150 ]; do
    n=$((n + 1))
    sleep 0.1
done
