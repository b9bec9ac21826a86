"""Shards between peers: fetch any k of n, serve."""
