"""Tasks run here, sandboxed and limited; what runs outlives the node.

Each *job*, one attempt of one task, has a folder, a *shim* above its processes that ends them at
their limits without the node, and a *sandbox*. A node that starts finds its jobs by their folders
and goes on watching. `port` says what an executor does; `process` does it, `fake` pretends to.
Words: the lease that a shim counts (`renew`), the grace of a stop, what a machine can *enforce*.
"""
