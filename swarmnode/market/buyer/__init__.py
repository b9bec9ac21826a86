"""This machine's own tasks: each is put to auction, awarded and brought to exactly one end.

    bidding/     who is to run a task       verdicts/    what an end means
    attempts     awards, leases and beats   ends         results, and what follows from them
    stewardship  whose turn it is to act    own_machines/  tasks that another machine has
    book         what all of these know     notary       signs what is given to others

The core decides, `service` sends and writes down. The other side is `swarmnode.market.seller`.
"""
