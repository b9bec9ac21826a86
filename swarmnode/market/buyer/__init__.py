"""This machine's own tasks: each is put to auction, awarded and brought to exactly one end.

    auctions   waiting tasks: whom to ask, when to close         auction    one of them
    attempts   from an award to its end: leases, beats, results  verdicts/  what an end means
    own_machines/  tasks that another machine of the person has

The core decides, `service` sends and writes down. The other side is `swarmnode.market.seller`.
"""
