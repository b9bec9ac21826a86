"""`swarmnode task`: submit, follow, look, bring.

The node has the tasks; what stands here turns flags and files into requests, and answers into
tables, JSON and exit codes. Any command may end and be typed again: no task depends on it.
"""
