"""Calls and casts between peers, over whatever Host carries the frames.

A *channel* is the calls of one peer in one traffic class, both ways. It is a pure core: `receive`
takes what the peer says, `next_frame` gives what is to be said, `next_effect` what is to be done
here. A *conversation* is the shell that carries one.

channel        the core: one outbox of frames, one of effects
outgoing       in it: our calls, until their callers have left
incoming       in it: calls of theirs, from the question to the last byte of the answer
bodies         in it: bodies both ways, and the credit that bounds them
bounds         what all peers together may have this node hold
conversation   the shell: carries one channel over a host, by one task
handlers       the shell: runs whoever answers
service        what the node calls; finds the conversation for a frame or a call
"""
