"""Whole objects in and out of the pool."""
