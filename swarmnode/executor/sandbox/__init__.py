"""What a task sees of this machine, and what holds it there: bubblewrap, seccomp, cgroups."""
