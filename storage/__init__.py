"""Keeps bytes alive on many peers."""
