"""Whether this machine's clock may end leases: what others say the time is, put against ours."""
