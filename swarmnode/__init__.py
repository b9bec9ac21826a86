"""Swarm: a peer-to-peer pool of compute, memory, storage and network.

A *node* is one process on one machine. It lends what its owner lets it lend, puts its owner's tasks
to auction among the others, and keeps objects and small values with them. This package trades, runs
and remembers work; `storage` keeps bytes, `p2p` moves messages. ARCHITECTURE.md has the folders and
their arrows, docs/glossary.md the words; `node` is where all parts meet.
"""
