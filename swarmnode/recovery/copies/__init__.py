"""Copies of keyrings in the pool: what is in one, and where those of a person's machines lie.

A copy is an object of the pool (`snapshot`). Each machine has a *pointer* to its newest one, and
who takes a machine over leaves word of that beside it (`pointers`). All of that is one value under
the person's name (`shelf`), or lies under a name of the machine's own (`place`).
"""
