"""What brings a person back whose machine is gone: a phrase, and a keyring in the pool.

The phrase is the person's key in words. Under a name of that key lies where the newest copy of the
keyring is: objects with their keys, tasks and what was taken over of them, all encrypted by a key
that only the phrase gives.
"""
