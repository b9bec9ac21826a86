"""Calls and casts between peers, over whatever Host carries the frames.

service     what the node calls; one channel a peer and traffic class
channel     one conversation: calls, bodies and credit
answering   calls of others, let in within bounds and handed to whoever serves them
"""
