"""Shard bytes at rest, their leases and quotas."""
