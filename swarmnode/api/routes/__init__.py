"""Every path of the local API, by noun.

A route reads the request, asks the node by `swarmnode.api.face`, and answers with a struct of
`schema`; it keeps nothing. Who asks is known by then (`swarmnode.api.access`).
"""
