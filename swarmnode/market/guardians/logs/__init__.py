"""Logs among the keepers of a task: copied while they grow, fetched by who had them elsewhere."""
