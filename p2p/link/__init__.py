"""Our byte pipe under libp2p: Noise session, Yamux, accept guard."""
