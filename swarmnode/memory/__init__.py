"""Checkpoints and state that outlive task and node.

A *checkpoint* is a step of a task's work: what lies in its folder once that has come to rest
(`stillness`), or what it stages by `ctx.checkpoint`, as objects in the pool; from the newest one
another attempt goes on. *State* (`ctx.state`) is small values by key on mutable names, encrypted
for the task and fenced by its attempt. One `CheckpointKeeper` watches one job.
"""
