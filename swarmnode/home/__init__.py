"""The files of one node: where they lie, their lock, configuration, and how a home is enrolled."""
