"""From a process to a serving node: signals, descriptors, logs, the supervisor, and down again.

`early` holds before anything heavy is loaded, `process` takes the lock and tells faults of the
operator by exit codes, `serving` starts the API first and the node's parts after it and ends them
in reverse, `real_edges` makes the bodies of all ports. Tasks outlive every step of this.
Source: sd_notify(3) for the supervisor.
"""
