"""What tasks leave to the people who submitted them: outputs, checkpoints, inputs still in use.

A provider puts outputs and checkpoints in the submitter's name. Here they come onto the
submitter's keyring, which renews them from then on, and go again when their task needs them no
more.
"""
