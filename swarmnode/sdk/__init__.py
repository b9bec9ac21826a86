"""What a task and a program import.

`ctx` is for tasks: one file, standard library only, which the executor copies beside each task as
`swarm_ctx`. It speaks to the node through a socket in the sandbox
(`swarmnode.executor.ctx_server`).
"""
