"""From a process to a serving node: signals, descriptors, logs, the supervisor, and down again."""
