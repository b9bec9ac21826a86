"""The mirror of a task's network: PyPI and the Hugging Face Hub, answered from what is kept.

A task with `--net pypi` or `hf` finds them under names of its own network only (reach.MIRRORS).
What it asks for is either named by a digest, or it is not kept: a file of an index page by the
SHA-256 that the page gave, a file of a repository by what the hub says of that revision. The page
and the word of the hub come over TLS, asked by this node itself, so nobody in the pool is believed;
the bytes may come from wherever they are, for they are checked: from this machine's disk, from
another machine of our lab, else from the internet, once for all who want them.

`rules` decides: what is asked for, index pages, what the hub says, digests. `shelf` keeps
files on disk, `bringing` brings one for all who wait for it, `lab` asks our lab's machines,
`upstream` the internet by the rules of the task that asks, `exchange` speaks HTTP with the task,
`pypi` and `hf` answer it, `giving` gives files, `pages` what was told last, `service` joins them.
"""
