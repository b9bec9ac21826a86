"""The node's end of a task's network: each connection is decided here, and made from here.

The task's programs see an ordinary machine. Names are looked up at 10.77.0.1, which is us: every
name gets an address of its own that means nothing elsewhere, so that a connection arrives with the
name it was made for. The name is allowed or not by what the task may reach; only then it is
resolved, each address it has must lie in the internet, and one of those is dialled. What passes is
carried as it comes, both ways, with the ends that either side makes of it; it is counted and held
to the task's shape. Nothing of it is opened or changed (no certificate of ours is in a sandbox).
Connections to a mirror's name (reach.MIRRORS) are given to whoever answers there: `mirrored` tells
programs of them.

`core` decides, of `dns` messages and of `addresses`; `service` acts, with a `resolver`, a `dial`
and a `conduit`. The sockets come from the job's shim: see shim/net.
"""
