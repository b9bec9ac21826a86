"""Environments as tasks, awards and records speak of them. Pure.

An environment is made from a lock for a version of Python and a kind of machine: these three, and
how it is built, are its *key*, under which it is looked for. What came out is an object with a
*digest*; its builder signs that one is the other. A task that uses it carries the object's
capability; machines speak of it by an id that is made from that, which tells nobody how to read it.
"""
