"""Builds an environment, in the sandbox: the standard library of any Python from 3.9 on.

Nothing of ours is imported here, and these files are not imported by a node: it shows them to the
task. The folder that comes out is always seen at /env, when it is made and when it is used: `py/`
is the interpreter with its libraries and the C library, `venv/` the packages, `base/` what programs
expect of a system beside that.
"""
