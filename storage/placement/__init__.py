"""Which machines should hold what: the pool as it is seen, and rendezvous hashing over it.

The *pool* is the machines that live and lend storage, by membership and their *adverts*. Everybody
who sees the same pool computes the same order of machines for a key, without asking; shards go to
the first that fit, *spread* over labs, sites and persons. The order is a preference only: who
really holds a shard is in holder records.
Sources: Thaler, Ravishankar 1998; weights by Schindelhauer 2005.
"""
