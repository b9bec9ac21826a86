"""Work for room: each task is put to auction, awarded to one machine, and brought to one end.

    buyer      the tasks of this machine: calls, awards, leases, results
    seller     its room: bids, holds, jobs        run        one job, from its inputs to its outputs
    guardians  who acts for a task while its buyer is away

Words: call for bids, bid, hold, award, attempt, fence, lease, receipt (docs/glossary.md).
Source: the contract net protocol, R. G. Smith, IEEE Transactions on Computers, 1980; leases after
Gray and Cheriton, 1989.
"""
