"""Whole nodes under faults from one seed: what was promised must hold, whatever happened."""
