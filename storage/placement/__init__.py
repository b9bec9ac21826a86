"""Which machines should hold what: the pool as it is seen, and rendezvous hashing over it."""
