"""What this machine keeps for others, and tells of it: shards, manifests, records and leases.

`server` answers messages, and says nothing before it is durable. What is kept, and until when, is a
matter of `leases`; a *tombstone* is the signed word that a lease was given up,
kept for holders that were away. In any doubt bytes stay until their lease ends.
Cf. leases (Gray, Cheriton, SOSP 1989); death certificates (Demers et al., PODC 1987).
"""
