"""Files and folders of this machine that a command reads or writes.

What goes up is read once and checked while it is read; what comes down appears whole or not at all.
Names are any bytes, and a failure says that it is this machine's.
"""
