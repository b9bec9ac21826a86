"""What a task sees of this machine, and what holds it there: bubblewrap, seccomp, cgroups.

bubblewrap gives a job namespaces of its own, with its work folder and a read-only view of the
programs; seccomp takes system calls away; control groups limit what it uses. What holds here is
found out by trying (`capability`), and what does not is said, never passed over.
Source: https://github.com/containers/bubblewrap; user_namespaces(7), seccomp(2), cgroups(7).
"""
