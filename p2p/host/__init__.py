"""Peers and frames: the Host port with its bodies, and RPC over it.

A *host* is a node's connections: it carries opaque *frames*, in order for each peer and traffic
class, between peers that have admitted each other. `libp2p` is its body over sockets, built from
`peers`, and `memory` the one for simulations; `admission` decides who may stay, and `rpc` makes
calls and casts of frames. Nobody but `rpc` sees a frame.
"""
