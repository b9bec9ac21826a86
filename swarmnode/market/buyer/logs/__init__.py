"""Logs of this buyer's tasks.

inbox   what the providers push is taken; logs of tasks that are no more are let go
late    of what has ended: which are not whole here, and who has the rest
claims  of what ended while another machine had it: asked for from who ran it
"""
