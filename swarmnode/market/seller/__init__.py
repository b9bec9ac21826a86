"""This machine's room: offers, awards, jobs and their leases. `swarmnode.market.run` runs them.

A bid with room sets that aside (a *hold*) until it is awarded, released or over; an award makes a
*job* of it, which has the room until no process of it lives. Room is never promised twice (R1), and
an attempt acts for its own buyer and fence alone (R3). A job whose buyer is silent for its lease
and the *orphan grace* is stopped.

The core decides, by `room`, `offers` and `jobs`; the service acts: `mail` hears the buyers,
`running` has a runner for each job, `lending` looks at the machine and shows what is lent.
"""
