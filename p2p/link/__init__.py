"""Our byte pipe under libp2p: Noise session, Yamux, accept guard.

A *connection* is one socket with one Noise session over it, which seals, and one Yamux session in
that, which cuts it into *streams*. A *window* is what a stream may have on its way; unread bytes
are bounded by stream, connection and node. The *guard* decides which sockets may wait at the door.
`yamux`, `noise` and `guard` are pure: bytes in, bytes out. What attacks cost: docs/link.md.
Sources: https://noiseprotocol.org/noise.html, https://github.com/hashicorp/yamux
"""
