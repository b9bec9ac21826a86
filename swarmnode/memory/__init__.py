"""Checkpoints and state that outlive task and node."""
