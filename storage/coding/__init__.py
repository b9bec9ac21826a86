"""Bytes to shards and back, pure: cut into segments, sealed, coded k of n, hashed as trees.

A *segment* is a piece of at most 8 MiB; it is sealed by itself and coded into n *shards*, any k of
which give it back. The *root* of a shard is the head of a Merkle tree over its *leaves* of 16 KiB:
shards are named by it, and any part of one can be verified alone.
Sources: L. Rizzo 1997 (zfec, Reed-Solomon codes); BLAKE3; NIST SP 800-38D and RFC 8439.
"""
