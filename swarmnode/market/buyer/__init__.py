"""This machine's own tasks: each is put to auction, awarded and brought to exactly one end.

    bidding/     who is to run a task       verdicts/      what an end means
    attempts     awards, leases and beats   results        taken once, receipted often
    ends         what follows for the task  own_machines/  tasks that another machine has
    stewardship  whose turn it is to act    notary         signs what is given to others
    book         what all of these know

The core decides, `service` sends and writes down. The other side is `swarmnode.market.seller`.
"""
