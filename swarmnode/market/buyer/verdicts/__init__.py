"""What the end of an attempt means for its task: tried again from where, held back, or over.

Functions of a task's record, one question a module: where the next attempt starts (`starts`),
whether nodes die of the task (`held_back`), what becomes of one that must not run twice (`once`),
and what a cancelled attempt leaves (`leftovers`).
"""
