"""Who asks the local API: users of this machine and tokens, and what each may see.

On a unix socket the kernel says whose process it is (SO_PEERCRED), on TCP a bearer token does. Of
that comes a *principal*: the owner, another person who was let in, or a token with a scope. Who may
only look is shown no capabilities; those of a person are opened for that person alone.
"""
