"""Transactions: named tables over LMDB or memory, where every durable fact of a node lives.

Whoever writes gives a function that is run inside the next *group commit*, which all share who wait
meanwhile; it is durable when `transact` returns. Each value carries a hash, as LMDB has none, and a
*reserve* on the disk lets a full one still delete. `port` says what holds of both bodies.
Cf. https://www.symas.com/lmdb; group commit, DeWitt et al., SIGMOD 1984.
"""
