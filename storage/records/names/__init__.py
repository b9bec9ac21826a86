"""Small mutable values under names that belong to somebody, kept by a few machines for all.

A name belongs to a key: a machine's, a person's or a task's. Whoever has the key may write it, and
so may one machine under one fence for which the key has signed a grant (an award carries one).
`messages` has what is said, `core` the rules of quorums, `rights` who may, `quota` how much,
`holder` one keeper's part, `service` reading and writing, `owned` what others are handed.
"""
