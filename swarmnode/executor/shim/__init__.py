"""The small process above each job, which outlives the node. It imports little: it starts fast.

It reads one *order*, starts the job, keeps what it prints, ends it at its limits or when its lease
is over, and writes an *exit* file. The node asks it by a FIFO (`control`) and learns by files, so
either may die without the other. The idea is containerd's shim:
https://github.com/containerd/containerd/blob/main/core/runtime/v2/README.md
"""
