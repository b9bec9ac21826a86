"""What decides at a mirror: what is asked for, what names it, and what an answer says."""
