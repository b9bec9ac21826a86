"""Datasets: objects and folders of the pool that a task sees as read-only files, at once.

Content is fetched in chunks when somebody reads it, and ahead of who reads in order; what was
fetched stays on this machine's disk within a bound, so that it is fetched once. `ahead` decides
what is fetched, `chunks` and `wholes` keep it, `content` brings both together for one object,
`contents` for all objects here, `tree` lays a folder out as a file system, `service` shows it to
jobs. Only who holds a capability gets what it opens: what is kept is found by the hash of it.
"""
