"""Signed holder records and mutable names."""
