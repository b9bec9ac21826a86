"""A project as if it were installed where it lies: its modules, its scripts, what is told of it.

Installing runs code of whoever builds it. What a program sees of an installed project is little
more than a few lines of text, though, and they stand in its pyproject.toml: its name and version,
its scripts, its other entry points (plugins). `about` reads them, `version` finds a version that is
not written there, and `files` makes of them the folder that a task gets: a `.dist-info`, as the
packaging specifications have it, and a program for each script. The modules stay where they are.
"""
