"""The local HTTP API: all that the command line, the SDK and a person's own programs ask of a node.

A request goes from `server` (sockets and HTTP) to the gate of `app`, which knows by `access` who
asks, to one of `routes`; what is answered is a struct of `schema`, made by `views`. `face` is what
of the node is needed. Words: *principal*, who asks; *problem*, an error as RFC 9457 has it.
"""
