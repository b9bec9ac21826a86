"""`swarmnode doctor`: everything that can be wrong with a machine, each with its fix."""
