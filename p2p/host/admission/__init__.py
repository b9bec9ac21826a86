"""Who may stay: tokens are exchanged after the handshake, and each handler is given its Caller.

A connection carries nothing else until both ends have shown certificates of the same network. What
a peer is (machine, person, lab, roles) is read from those, never from what it says of itself.
"""
