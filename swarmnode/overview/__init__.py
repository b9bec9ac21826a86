"""What a node tells people of itself and its network: status, notices, who is who.

`status` reads all parts and changes none; `notices` logs each change of health once, in the words
of `status`; `roster` lists people and machines by certificates that were checked, never by what
machines say of themselves. `face` is all that the local API asks of a node.
"""
