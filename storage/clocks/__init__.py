"""Whether this machine's clock may end leases: what others say the time is, put against ours.

Leases end by the wall clock, so a wrong one would free what others count on. Some living machines
are asked for the time, one of each other person, and a *verdict* says how ours stands among them:
time counts only while more than half agree. No clock is set; a wrong one frees and takes nothing.
Cf. selection of a majority of clocks (Marzullo 1984; RFC 5905, section 11.2).
"""
