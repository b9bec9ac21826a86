"""A folder as one object: what inputs, outputs, checkpoints and `obj put DIR` are made of.

A *tree* is one byte stream. First comes its index: every name beneath the folder with its kind
and rights, in one order, so that the same folder always gives the same bytes. Then the contents
of all files, one after another: ten thousand small files are one object and not ten thousand.

    magic | head | pages of entries | contents

`names` says what a name may be and how one that is not UTF-8 is written as text, `pattern` which
names somebody means, `format` what the bytes are and which trees are refused, `links` where a
symbolic link leads. These decide and touch nothing. `scan`, `pack` and `unpack` touch folders:
step by step from a descriptor, never through a link, for what is in there may be a trap.
docs/protocol.md describes the format for others.
"""
