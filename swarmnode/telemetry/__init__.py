"""Metrics pulled from frozen stats."""
