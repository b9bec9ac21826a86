"""Small mutable values under names that belong to somebody, kept by a few machines for all.

A name belongs to a key: a machine's, a person's or a task's. Whoever has the key may write it, and
so may one machine under one fence for which the key has signed a grant (an award carries one).

    core        the rules of quorums            messages      what is said
    proposer    reads and writes                asker         asks all holders of a name
    holder      one keeper's part               quota         how many it keeps for whom
    rights      who may write                   signing       ballots and records, signed
    succession  when the holders have changed   handing_over  tells the new ones
    owned       what other rooms are given      config        times

`service` joins them and is run.
"""
