"""Single questions to the kernel: system calls, /proc, control groups. The shim uses it too."""
