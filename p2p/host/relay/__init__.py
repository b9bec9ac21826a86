"""Two members that cannot reach each other, joined by a third that both can reach.

A *relay* is a member that carries *circuits* between members connected to it. Who cannot dial a
peer asks a relay for a circuit to it; the relay offers it to the peer, over the connection it has,
and hands on bytes both ways. Over them the two shake hands, admit each other and talk as over a
socket, so that the relay sees sealed bytes only.

    A --CircuitWanted--> relay --CircuitOffered--> B        one stream on each connection
    A <--CircuitOpened-- relay <--CircuitOpened--- B
    A ==== Noise, admission, Yamux, frames ======= B        within them

One hop: nothing is carried by a connection that is relayed itself. A busy pair has a second
circuit for bulk, which the relay puts after the first ones. Direct ways are tried again now and
then, and a connection that comes about takes over (p2p/host/peers/takeover.py). This is not
libp2p's circuit relay, which ends circuits after 128 KiB or two minutes.
"""
