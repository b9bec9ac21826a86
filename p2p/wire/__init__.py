"""Bytes on the wire: bounds, codec, frames and signed envelopes. Sans-I/O."""
