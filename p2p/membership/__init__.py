"""Who is alive: a SWIM-style full view."""
