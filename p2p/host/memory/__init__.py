"""A network in one process on trio's clock: the twin of `libp2p` in simulations."""
