"""The only importer of libp2p: the Host port over real sockets.

Importing anything below this package imports libp2p first, without the parts we never use.
"""

from p2p.host.libp2p.lean_imports import lean

with lean():
    import libp2p.host.basic_host
    import libp2p.kad_dht.kad_dht
    import libp2p.network.connection.swarm_connection
    import libp2p.network.swarm  # noqa: F401
