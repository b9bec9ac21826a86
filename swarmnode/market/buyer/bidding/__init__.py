"""Who is to run a task: machines are asked, answer with bids, and the best is awarded.

auctions  of all waiting tasks: whom to ask, when to close, when to try again
auction   one of them
fit       whether a machine can run a task at all, by what it lends
nobody    in words, why none can
dry_runs  auctions held for nothing
"""
