"""The register kept, spread and acted upon: whoever is out loses its connections.

What removals and uses of invites mean is decided in `p2p.identity.register`. Here each *entry* is
written down first (a full disk only delays that), then pushed to some peers; now and then, and when
they meet, two compare digests of all they hold, and each sends what the other lacks.
Cf. Demers et al., Epidemic algorithms for replicated database maintenance, PODC 1987.
"""
