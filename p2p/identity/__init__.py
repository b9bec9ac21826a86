"""Who is who: keys on disk, signed records, admission of peers.

Every machine, person, lab and network is a key; its id is made from the key. A *certificate* says
who vouches for whom, a *token* is the chain of them up to the network's key, and an *invite* is the
right to be let in, as text. What a chain proves of a peer is its *caller*: the only thing by which
handlers decide. Nothing here sends or listens.
Cf. SDSI/SPKI, in which keys speak for names without a central issuer (RFC 2693).
"""
