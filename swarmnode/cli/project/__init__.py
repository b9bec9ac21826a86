"""`swarm run -- COMMAND` in a project's folder: the folder goes along, what it made comes back.

`command` is the command; `places` says what is meant where it was typed, `hints` what helps where
that cannot be. `sending` is what goes up, with `stdin`; `results` and `changes` what comes down.
"""
