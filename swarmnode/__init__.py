"""Swarm: a peer-to-peer pool of compute, memory, storage and network."""
