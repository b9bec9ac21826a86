"""A read-only file system that the kernel asks us for: its protocol, and nothing else.

The kernel sends requests by a descriptor of /dev/fuse and waits for the answers. `inodes` is what
there is to see, `protocol` how requests and answers are written, `core` decides what is answered
and which bytes are wanted for it, `opens` which files the kernel may read without us; `serve` moves
the bytes, and `passthrough` hands such files over. Nothing here knows where content comes from.
What is shown never changes, so the kernel may keep names, attributes and pages for ever.
Source: linux/fuse.h, https://docs.kernel.org/filesystems/fuse/index.html
"""
