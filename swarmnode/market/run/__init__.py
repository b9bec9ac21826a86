"""One job of another's task on this machine: its inputs, its run, its log and what it leaves.

A *runner* brings one job from its award to its end, and every step may be done again after a
restart. It tells the seller by events what has happened; what follows from that the seller decides.
"""
