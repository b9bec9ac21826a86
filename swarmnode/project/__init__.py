"""A project's folder as it goes along with a task: where it begins, and what of it is sent.

What git would commit goes along: what is tracked, and what is new and not ignored. Where there is
no git, everything but what programs leave behind. `.swarmignore`, written like `.gitignore`, has
the last word in both directions: it leaves out what git keeps, and brings along (`!data/`) what git
ignores. Nothing is left out in silence: what was is counted, and shown by its folders.

`root` finds where a project begins. `rules` decides what goes along and touches nothing; `git` asks
git; `choice` looks at the folder. What comes back is a result: `landing` decides where it is to
lie, and `placing` brings it there.
"""
