"""Keeps bytes alive on many peers.

An *object* is immutable: cut into *segments*, each sealed on the owner's machine and coded into n
*shards*, any k of which give it back. Its *manifest* says what it is made of, and the hash of that
is its *address*; address and key together are the *capability* to read it. *Holders* keep shards
under *leases*, *repair* brings back what is lost, and *names* are the small values that change.
Cf. Tahoe-LAFS (Wilcox-O'Hearn, Warner, StorageSS 2008).
"""
