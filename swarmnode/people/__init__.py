"""The people who share one daemon: who they are to this machine, and by what they are known.

The machine is its owner's, whose name is in its certificate. Others are let in by the owner, known
by the user id that the kernel tells of a local connection, and have their own objects and tasks.
Each has a key in their own home. What is theirs rests here sealed to its public half; they unlock
it by their connection, until the daemon ends or they lock it again (`seals`, `unlocking`).
"""
