"""The only importer of libp2p: the Host port over real sockets."""
