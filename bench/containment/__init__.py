"""What the sandbox costs, what it leaves behind, and what the node feels of hostile tasks."""
