"""Guardians: two other members who keep a task alive while its submitter is away.

Every unfinished task has *keepers*: its submitter and two other members, its *guardians*. All hold
the same record: the task with its key, its newest attempt and checkpoint. One of them *acts*: it
renews the worker's lease, holds auctions, takes results and logs. Who acts is decided as in Raft:
each taking over has a number, the *term*; whoever acts must hear from a majority of the keepers
within every lease, or it renews nothing; whoever has not heard from the one who acts for a lease
may ask the others for their votes under the next term. The worker is told by a Claim that the
task's own key signed, and obeys the highest term. The submitter takes back whenever it returns; is
it gone, then the machine at which its owner took the task up is the submitter. Keepers that die are
replaced one change at a time, each agreed to by the majority of those before and after it.
Source: https://raft.github.io/raft.pdf (terms, votes, joint consensus); there is no log, only the
newest record, because a lost update costs an auction and never a promise: fences jump with a term.

In a pool of two machines a majority would be both, so there one is enough: a cut between them
looks like a death to each, and what may run twice may do so until they meet again.
"""
