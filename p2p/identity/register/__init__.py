"""What everybody must know for good: who was removed, and which invites were used by whom.

A *removal* ends what certificates gave before they end by themselves. It is signed by a key that
stands above the removed one (`p2p.identity.lineage`) and shows what that key is. A *use* tells that
somebody came with an invite, witnessed by the machine that let them in first: a machine, person or
lab that comes after as many as the invite was for stays out. Both are kept on disk by every node
and spread to all; two nodes exchange removals before either serves the other anything.
Source of the idea: certificate revocation lists (RFC 5280), without an issuer to ask.
"""
