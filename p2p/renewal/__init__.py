"""Certificates renew themselves from half of their life, while a key that may sign them is up.

A node signs anew what its own keys may sign, and asks the peers that may hold the other keys for
the rest; whoever asks proves by its old *token* what it may have again, and nothing more. Who may
renew what: `p2p.identity.renew`.
Cf. short-lived certificates in the place of revocation (RFC 8739).
"""
