"""The people who share one daemon: who they are to this machine, and by what they are known.

The machine is its owner's, whose name is in its certificate. Others are let in by the owner, known
by the user id that the kernel tells of a local connection, and have their own objects and tasks.
"""
