"""The files of one node: where they lie, their lock, configuration, and how a home is enrolled.

A *home* has a machine's keys, its certificate (`membership.json`), its configuration and its state.
One node at a time has it (`lock`). All of this is offline: founding a network, inviting and joining
are files that are written and carried. Source: the XDG base directory specification.
"""
