"""Finds peers and moves typed messages between them by urgency and distance.

A *peer* is a machine, named by the hash of its key; it is let in by *certificates* that go back to
one network's key, never by what it says of itself. `host` connects peers and carries frames by
*traffic class*, `host.rpc` makes calls and casts of them; `membership` knows who is alive, `gossip`
and `register` tell everybody what all should know, `discovery` finds the first ones. There is no
server. The keys, addresses and handshake are those of libp2p (https://github.com/libp2p/specs).
"""
