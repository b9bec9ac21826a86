"""Finding the first peers: those of the invite, those of earlier runs, and an index.

A *seed* is an address that is dialled at the start; one or two that answer are enough, as
membership tells of all others. Who is alone goes on trying, and seeds that are no members are tried
now and then, so that one network never stays two swarms. The *index* is a hint only: a Kademlia
table in which members announce themselves (Maymounkov, Mazieres 2002).
"""
