"""Who is alive: a full view of all members at every one of them.

Each *probes* one other at a time; who is silent is *suspect* for some seconds, in which it may
object by a higher *incarnation*, and then *dead*. *News* of that ride on the pings; two whole views
are compared now and then. A machine's word about itself is its *presence*, which it signs.
Sources: SWIM (Das, Gupta, Motivala, DSN 2002); Lifeguard, https://arxiv.org/abs/1707.00788
"""
