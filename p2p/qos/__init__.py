"""Which frame goes next, and how fast bulk may leave.

Frames wait by *traffic class* in one *scheduler* for each peer, where an urgent one overtakes, and
are bound to a stream only when the link has room (the *pump*). The *pacer* keeps the queue at the
slowest router short by what round trips tell of it; the *loss watch* finds lines that lose without
a reason. These are pure; `tcp` is what the kernel tells and can be told. Who waits for whom on a
slow line: docs/qos.md.
Source: Shreedhar and Varghese, SIGCOMM 1995 (deficit round robin); cf. LEDBAT, RFC 6817.
"""
