"""Signed holder records and mutable names.

A *holding* says who holds the shards of one page of a manifest. Each change is a new record with a
higher *sequence*, signed by whoever made it and kept by all holders: the newest counts, shards are
verified by their roots in any case. `names` are the small values that change, by quorum.
"""
