"""Lost shards come back by themselves: every holder runs the same rules, and nobody is in charge.

A holder that is silent for long has *lost* its shards; the first living holder of a page in
rendezvous order is its *leader* and has them made anew from any k others. What has fewest to spare
goes first, within a rate; when many fall silent at once a *brake* waits for them to come back. An
*audit* asks whether holders still have what records say; what is *surplus* is freed with care.
Cf. lazy repair in Total Recall (Bhagwan et al., NSDI 2004).
"""
