"""From what the node knows to what the API says: plain renaming, nothing is decided here.

So that records may change without the API, and the API without records.
"""
