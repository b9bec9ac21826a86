"""Peers and frames: the Host port with its bodies, and RPC over it."""
