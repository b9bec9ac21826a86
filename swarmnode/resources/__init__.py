"""What this machine has and what is free, and how others are told.

A *machine* (`port`) is read now and then as one snapshot: cores, memory, disk, GPUs; what the
limits of a container leave counts, not what the host has. Of it an *advert* is made, which gossip
brings to everybody and which expires: it only rules machines out, a bid is what counts.
"""
