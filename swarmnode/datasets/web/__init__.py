"""Datasets by HTTP, for programs of a task that read ranges of files by their address.

A task finds its datasets under `SWARM_DATA_URL`, at the paths that they have as files. `core`
decides what is answered, `ranges` which bytes of it (for swarmnode.mirror, too), `serve` is
HTTP/1.1 by h11 on a listener that only this task reaches. It is one more way to what the mounts
show: names, bytes and waiting are the same.
Source: RFC 9110 (ranges: section 14, preconditions: section 13).
"""
