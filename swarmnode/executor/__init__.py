"""Tasks run here, sandboxed and limited."""
