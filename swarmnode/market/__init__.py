"""Calls, bids, awards, leases."""
