"""Secrets of tasks: they leave their submitter for its guardians, and for who runs the task.

A spec has their names only. The values lie beside the task, sealed by its own key, at its submitter
and at its guardians, for as long as it is open. A machine that was awarded the task asks whoever
acts for it, before each start, and is answered with a seal that its memory alone opens. Nothing of
them is in a record, a message that is kept, a log or an error.
"""
