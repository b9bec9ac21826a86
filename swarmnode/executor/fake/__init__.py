"""An executor in memory on virtual time, for simulations.

Its jobs are generators that yield how long they sleep (`programs`), their folders are dicts
(`files`). It passes the same contract test as the real one, so that whole nodes run in one process.
"""
