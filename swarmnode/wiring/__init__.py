"""Parts of a node that belong together, made for `swarmnode/node.py` from its edges.

peers       who is there, and how they are spoken to
household   the people of this machine, and what rests sealed for each
recovering  what is kept of this machine in the pool, and how a person comes back
"""
