"""What a task and a program import."""
