"""What a task is, wherever it is: its spec, its records, its lifecycle, and its submitter's ledger.

A *task* is a command with inputs, limits and outputs. It is tried in *attempts*, one after the
other, each under a higher *fence*; an attempt at its provider is a *job*. Both have a lifecycle
that is a table (`lifecycle`). What is stored and sent of them stands here, and nothing that decides
who runs them: that is `swarmnode.market`.
Source of the fence: "How to do distributed locking", M. Kleppmann, 2016 (fencing tokens).
"""
