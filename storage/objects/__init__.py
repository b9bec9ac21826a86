"""Whole objects in and out of the pool, for whoever owns them.

A put is written down before it begins (`put_list`), pushed segment by segment (`writer`), and
exists from the commit of its manifest and its row in the *keyring*, the durable list of a person's
objects with their keys. The `keeper` renews their leases; `reader` reads, `dropping` gives up and
remembers who has still to hear, `standing` looks whether what is ours can be read.
"""
