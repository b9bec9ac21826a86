"""`swarmnode doctor`: everything that can be wrong with a machine, each with its fix.

A *check* is one thing that was looked at: it is well, or it says what to do about it. They need no
node that runs, and stand in the order in which one would mend what is wrong.
"""
