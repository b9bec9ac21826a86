"""Shards and manifests between machines: one question to one holder, and many at once.

`client` asks and verifies every answer; a holder that fails, refuses or lies is one error, and
somebody else is tried. `push` finds homes for shards, `fetch` any k of n, `lookup` the manifests
and records by which they are found. Slow answers are *hedged*: another machine is asked beside
them, once that is later than nearly all were (`rates`).
Cf. Dean and Barroso, The Tail at Scale, CACM 2013.
"""
