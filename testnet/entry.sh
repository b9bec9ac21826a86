#!/bin/sh
# Start of every container: the founder makes a network and leaves invites at the door (a volume that only
# this testnet's containers share), the others take one and join. Then the node runs.
set -eu
umask 077
if [ ! -f "$SWARM_HOME/membership.json" ]; then
    if [ "${TESTNET_FOUNDER:-}" = yes ]; then
        swarmnode init --new-network --lab testnet --person tester >/dev/null
        swarmnode invite --own-machine --uses 100 --expires 1d \
            --address "/ip4/$(hostname -i | cut -d' ' -f1)/tcp/4850" >/door/invite.new 2>/dev/null
        mv /door/invite.new /door/invite
    else
        waited=0
        until [ -s /door/invite ]; do
            waited=$((waited + 1))
            [ $waited -le 600 ] || { echo "no invite came within a minute: is the founder up?" >&2; exit 1; }
            sleep 0.1
        done
        swarmnode join - </door/invite >/dev/null
    fi
fi
if [ ! -f "$SWARM_API__TOKEN_FILE" ]; then
    swarmnode api token --scope admin >/dev/null
fi
exec "$@"
