"""Power cuts, simulated: what a node does to its disk is recorded, cut off anywhere and replayed.

`recorder.c` is loaded into the node and its shims (LD_PRELOAD) and appends every change of a file
or folder below the home to one log. `disk` plays a prefix of that log as a disk would after a
power cut: what was fsynced is there, names in the order they were changed up to some point, and
of data that was not fsynced nothing, all, zeros, or some. `tests/integration/test_power_cut.py`
starts a node from each such disk.
Sources: https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai
"""
