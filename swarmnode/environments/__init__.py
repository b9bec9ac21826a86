"""Environments that were built for the pool: found by their key, judged, kept and forgotten.

Whoever built one signed a record: this key gave that object with that digest. Records lie in the
pool under a name that is made from the key, so anybody with the same lock finds them; what they say
is worth what their signers are (`swarmnode.tasks.environments.usable`). Environments with packages
from places that not everybody can read are told to machines of the same lab only, when they ask.
"""
