"""Single questions to the kernel: system calls, /proc, control groups. The shim uses it too.

Nothing is kept between two questions but paths, and nothing here knows of tasks. It imports little:
a shim starts before each job. Source: proc(5), cgroups(7) and the kernel's cgroup-v2 document.
"""
