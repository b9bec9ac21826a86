"""Bytes on the wire: bounds, codec, frames and signed envelopes. Sans-I/O.

A *message* is a frozen struct with a number, packed as a MessagePack array; depth and size are
checked before anything is decoded (`bounds`). A *frame* is a length and so many bytes. An
*envelope* says who said what in which network until when, and is signed over all of that, so that
no word can be used for another purpose.
Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""
