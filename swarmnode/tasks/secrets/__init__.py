"""What tasks know and nobody should see: variables that look secret, and secrets by name.

A secret is kept by its person under a name. A spec has names alone (`wants`); values travel and
rest sealed (`box`), and are read by the sandbox of the task.
"""
