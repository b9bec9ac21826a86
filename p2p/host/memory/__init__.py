"""A network in one process on trio's clock: the twin of `libp2p` in simulations.

Connections, delays and losses are as those of TCP, but nothing leaves the process and all chance
comes from the dice given: one seed, one run. Both bodies pass the same tests (tests/contract/host).
"""
