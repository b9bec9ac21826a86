"""Byte-bounded hot cache."""
