"""The command line; imports click alone.

`main` finds the command and loads only its module: `nouns` has one for each noun, `task` and
`doctor` are folders of their own. Most ask the node over its socket (`client`), print a table for
people or JSON for programs (`output`), and end by a code that scripts can rely on (`exits`).
"""
