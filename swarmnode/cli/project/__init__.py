"""`swarm run -- COMMAND` in a project's folder: the folder goes along, what it made comes back.

`command` is the command, `sending` what goes up, `results` what comes down.
"""
