"""The small process above each job, which outlives the node. It imports little: it starts fast."""
