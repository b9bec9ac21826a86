"""Yamux, sans-I/O: streams over one byte stream, each with a window of its own.

`frames` has the layout and the numbers of the specification, `core` what they mean, `events` what
it tells of that, `windows` how much the peer may send and what of it nobody has read, `grown` what
windows have beyond a connection's own share, `output` what waits to leave.
Source: https://github.com/hashicorp/yamux/blob/master/spec.md
"""
