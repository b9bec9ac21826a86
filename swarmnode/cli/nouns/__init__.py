"""One module a noun of the command line; `swarmnode.cli.main` loads the one that is asked for.

A noun is what people have: a node, objects, members, keys. Its verbs are functions of its module.
"""
