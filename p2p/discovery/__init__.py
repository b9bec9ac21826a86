"""Finding the first peers: invites, cache, bootstrap, Kademlia index."""
