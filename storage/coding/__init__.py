"""Bytes to shards and back, pure: cut into segments, sealed, coded k of n, hashed as trees."""
