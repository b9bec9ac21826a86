"""Which packages a project needs, and the list of them, each by its hash, that an environment is.

An environment is built from a *lock*: requirement lines with the hashes of the files they may be.
`find` says which file of a project is meant and which Python, `indexes` what this person's settings
of pip and uv mean for uv, and `lock` makes the lock, by uv, once: it lies in `.swarm/` until a file
that it was made from changes.
"""
