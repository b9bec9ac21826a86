"""What this machine keeps for others, and tells of it: shards, manifests, records and leases."""
