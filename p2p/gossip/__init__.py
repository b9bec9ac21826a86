"""What everybody should know: signed items, spread by push and mended by digests.

An *item* is the newest word of one machine (its *origin*) of one *kind*, signed, numbered and with
an end. It is pushed to a few members, who pass on what was new to them; now and then two compare
*digests* of all they hold, and the one asks for what it lacks (anti-entropy).
Source: Demers et al., Epidemic algorithms for replicated database maintenance, PODC 1987.
"""
