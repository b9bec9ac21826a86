#!/bin/sh
# Start of every container: the founder makes a network and leaves an invite at the door (a volume that only
# this testnet's containers share), the others take it and join. Then the node runs.
# The API token lies in $SWARM_HOME/api-token, readable by the node's user alone:
#     docker exec swarm-lea cat /var/lib/swarm/api-token
set -eu
umask 077
# An internal network has no way out by which the node could find its own address: name it.
export SWARM_LISTEN__ADDRESSES="/ip4/$(hostname -i | cut -d' ' -f1)/tcp/4850"
if [ ! -f "$SWARM_HOME/membership.json" ]; then
    if [ "${TESTNET_FOUNDER:-}" = yes ]; then
        swarmnode init --new-network --lab testnet --person tester >/dev/null
        swarmnode invite --own-machine --uses 100 --expires 1d >/door/invite.new
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
if [ ! -f "$SWARM_HOME/api-token" ]; then
    swarmnode api token --scope submit --name testnet >"$SWARM_HOME/api-token.new"
    mv "$SWARM_HOME/api-token.new" "$SWARM_HOME/api-token"
fi
exec "$@"
